"""A process of somebody else's, set up for a while as a run sets up its own."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, get_args

import torch

from robustrun.compute.threads import free_cores, set_parallelism
from robustrun.devices import local
from robustrun.errors import require


@contextmanager
def set_up(
    device: torch.device, precision: str, threads: int | None, work: float
) -> Iterator[tuple[str, bool]]:
    """In this context, the process computes on `device` as a run does with these settings;
    afterwards its own are as they were, but for the thresholds of the GNU C library's memory, which
    cannot be asked for: they are those at which it arrives by itself.

    `threads` is None for as many as torch has. `work` is the multiply-adds of one forward pass of a
    batch. Yields the precision, and whether to search with a folded copy. ConfigError or TypeError
    for settings that cannot be.
    """
    _require(precision, threads)
    if device.type not in get_args(local.Name):  # nothing is known of it
        yield "float32" if precision == "auto" else precision, False
        return
    own = min(torch.get_num_threads(), free_cores())
    count = own if threads is None and own < free_cores() else threads
    settings: Any = (device.type, count, precision, False, 1, True)
    with _settings_restored():
        runtime = local.LocalDevice(*settings).prepare(work)
        yield runtime.precision, runtime.search_copy


def _require(precision: Any, threads: Any) -> None:
    known = get_args(local.Precision)
    require(precision in known, "precision", precision, f"one of {', '.join(known)}")
    if threads is not None and type(threads) is not int:
        raise TypeError(f"threads is {threads!r}, but must be a whole number, or None.")


@contextmanager
def _settings_restored() -> Iterator[None]:
    """Afterwards, what a device prepares is as it was."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = [(cudnn, "benchmark"), (cudnn, "allow_tf32"), (matmul, "allow_tf32")]
    newer: Any = (cudnn.conv, cudnn.rnn, matmul)  # type: ignore[attr-defined]
    flags += [(part, "fp32_precision") for part in newer]
    before = [(owner, name, value) for owner, name in flags for value in _value(owner, name)]
    threads, parallelism, kept = (
        torch.get_num_threads(),
        set_parallelism(1),
        local.keeps_freed_memory(),
    )
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        set_parallelism(parallelism)
        for owner, name, value in before:
            setattr(owner, name, value)
        if not kept:
            local.return_freed_memory()


def _value(owner: Any, name: str) -> list[Any]:
    """The value of a flag of torch, if it has one: `allow_tf32` has none for whoever sets the newer
    `fp32_precision`."""
    with suppress(RuntimeError):
        return [getattr(owner, name)]
    return []
