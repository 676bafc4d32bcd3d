"""Counts how often a program waits for values of its tensors."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
READS = {
    aten._local_scalar_dense,  # bool(x), float(x), x.item(), and if x: ...
    aten.item,  # the same in inference mode
    aten.is_nonzero,
    aten.equal,
    aten.allclose,
    aten.nonzero,
    aten.masked_select,
    aten.isin,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.bincount,
    aten.repeat_interleave,
}
BY_MASK = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class Reads(TorchDispatchMode):
    """How many operations on a CPU would have to wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        packet = func.overloadpacket
        self.count += packet in READS or (packet in BY_MASK and _has_mask(args[1]))
        return func(*args, **(kwargs or {}))


def _has_mask(indices: list[Tensor | None]) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def host_reads(work: Callable[[], object], device: torch.device) -> int:
    """How often `work` waits for its device: on a CPU the operations that would, on CUDA what
    torch itself says."""
    if device.type == "cuda":
        with _told() as seen:
            work()
        return sum("synchronizing CUDA operation" in str(warning.message) for warning in seen)
    reads = Reads()
    with reads:
        work()
    return reads.count


@contextmanager
def _told() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode("default")
