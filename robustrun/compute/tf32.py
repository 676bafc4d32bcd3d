"""TF32: on NVIDIA's matrix units (from Ampere on), products of float32 whose inputs are rounded to
10 bits and whose sums are float32. Several times as fast, and what PyTorch's convolutions do there
unless they are told otherwise.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def tf32_allowed(kind: str) -> Iterator[None]:
    """In this context, convolutions and products of matrices on a device of this kind may be
    computed in TF32; afterwards as before. Only CUDA has it."""
    if kind != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = True
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
