"""How a GPU multiplies float32 and cuDNN chooses its algorithms: torch's switches, for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Arithmetic:
    """`tf32`: convolutions keep 10 bits of what they multiply; `tries`: cuDNN tries its algorithms
    on the first batch of a size."""

    tf32: bool
    tries: bool


AS_TORCH_COMES = Arithmetic(tf32=True, tries=False)
FLOAT32 = Arithmetic(tf32=False, tries=True)
TF32 = Arithmetic(tf32=True, tries=True)


@contextmanager
def set_to(arithmetic: Arithmetic) -> Iterator[None]:
    """In this context torch computes so."""
    cudnn = torch.backends.cudnn
    before = Arithmetic(cudnn.allow_tf32, cudnn.benchmark)
    try:
        cudnn.allow_tf32, cudnn.benchmark = arithmetic.tf32, arithmetic.tries
        yield
    finally:
        cudnn.allow_tf32, cudnn.benchmark = before.tf32, before.tries


def computed(run: Callable[[], float | None], arithmetic: Arithmetic) -> Callable[[], float | None]:
    """The same work, computed so."""

    def work() -> float | None:
        with set_to(arithmetic):
            return run()

    return work
