"""A batch cut into parts, each passed through the network by a thread of its own.

The layers of a small network end before a second thread has woken up to help with them; half a
batch keeps a thread busy all the way through (docs/performance-details.md). For networks in eval
mode, where no image affects another. A product of matrices is rounded differently when it has other
rows, so the last bits of a logit may differ.
"""

import copy
import logging
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from robustrun.compute import processes
from robustrun.compute.control_groups import cpu_quota
from robustrun.compute.cost import multiply_adds

log = logging.getLogger(__name__)
PAYS_FROM = 2.5e7  # multiply-adds of a part: with fewer, handing it over costs what it saves
ROWS_PAY_FROM = 100_000  # numbers of a tensor, for work of a dozen operations on it
ROUNDING = 1e-5  # how far logits of parts may differ from the whole's, as a share of the largest
GIVEN = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")  # joblib and Ray set the first
_count = 1


def set_parallelism(count: int) -> int:
    """From now on, this process cuts batches into at most `count` parts; 1: it cuts none. Returns
    what the number was before."""
    global _count
    before, _count = _count, count
    return before


def free_cores() -> int:
    """The cores that this process may use: those that the system lets it run on (Windows and macOS
    do not say), no more than a container's CPU quota pays for, rounded up, and no more than
    OMP_NUM_THREADS or Slurm gives it, so that the runs of a sweep beside each other do not fight
    for them. Of cores that several processes of a run share, its part, at least 1 (torchrun sets
    OMP_NUM_THREADS for all of them, which is not heeded then)."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(len(os.sched_getaffinity(0)), cores)
    if (quota := cpu_quota()) is not None:
        cores = min(math.ceil(quota), cores)
    if (sharing := processes.on_these_cores()) > 1:
        return max(cores // sharing, 1)
    given = (os.environ.get(name, "") for name in GIVEN)
    return min([cores, *(int(count) for count in given if count.isdecimal() and int(count))])


class ThreadParallel(nn.Module):
    """Logits and input gradients of a network, computed in up to `count` parts of at least
    `smallest` images; no other gradients.

    Each thread has a copy of the modules, so that what a forward pass leaves in one disturbs no
    other; all have the same weights and buffers.
    """

    def __init__(self, network: nn.Module, count: int, smallest: int = 1) -> None:
        super().__init__()
        tensors = [*network.parameters(), *network.buffers()]
        copies = [copy.deepcopy(network, {id(t): t for t in tensors}) for _ in range(count - 1)]
        own = {id(t) for t in tensors}
        for t in (t for each in copies for t in [*each.parameters(), *each.buffers()]):
            if id(t) not in own:  # TorchScript copies everything
                raise TypeError("copies of this network have weights of their own")
        self.networks = nn.ModuleList([network, *copies])
        self.smallest = smallest

    def forward(self, x: Tensor) -> Tensor:
        parts = max(min(len(self.networks), len(x) // self.smallest), 1)
        # Few but large images: the threads left over help with each.
        threads = len(self.networks) // parts if self.smallest == 1 else 1
        if parts == 1 and threads == torch.get_num_threads():
            logits: Tensor = self.networks[0](x)
            return logits
        if torch.is_grad_enabled() and x.requires_grad:
            networks = list(self.networks)[:parts]
            return _Pass.apply(x, networks, threads)  # type: ignore[no-any-return]
        pieces = x.tensor_split(parts)
        return torch.cat(run_parallel(lambda n: self.networks[n](pieces[n]), parts, threads))


class _Pass(torch.autograd.Function):
    """One forward pass; each part keeps a graph of its own for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, networks: list[nn.Module], threads: int) -> Tensor:
        pieces = [piece.detach().requires_grad_() for piece in x.tensor_split(len(networks))]

        def logits(number: int) -> Tensor:
            with torch.enable_grad():
                output: Tensor = networks[number](pieces[number])
            return output

        ctx.pieces, ctx.threads = pieces, threads
        ctx.logits = run_parallel(logits, len(pieces), threads)
        return torch.cat([piece.detach() for piece in ctx.logits])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        slopes = slope.tensor_split(len(ctx.pieces))

        def gradient(number: int) -> Tensor:
            value, x = ctx.logits[number], ctx.pieces[number]
            if not value.requires_grad:
                return torch.zeros_like(x)
            (slope_at_x,) = torch.autograd.grad(
                value, x, slopes[number], retain_graph=True, allow_unused=True
            )
            return torch.zeros_like(x) if slope_at_x is None else slope_at_x

        return torch.cat(run_parallel(gradient, len(ctx.pieces), ctx.threads)), None, None


def thread_parallel(network: nn.Module, sample: Tensor) -> nn.Module:
    """`network`, which is in eval mode, for batches in as many parts as `set_parallelism` said;
    itself where that is one, on any device but the CPU, where it cannot be copied, or where the
    images `sample` get other logits in parts (it draws random numbers, or an image affects the
    others)."""
    if _count == 1 or sample.device.type != "cpu" or len(sample) < 2:
        return network
    try:
        work = multiply_adds(network, tuple(sample.shape[1:]))
        parallel = ThreadParallel(network, _count)
        with torch.no_grad():
            logits, expected = parallel(sample), network(sample)
    except Exception as error:
        log.info(
            "the batches of this network are not divided among threads: %s",
            str(error).partition("\n")[0],
        )
        return network
    parallel.smallest = math.ceil(PAYS_FROM / max(work, 1.0))
    same = (logits - expected).abs().max() <= ROUNDING * expected.abs().max()
    return parallel if bool(same) else network


@contextmanager
def single_threaded_between_passes(network: nn.Module) -> Iterator[None]:
    """In this context, the work between the passes of `network` has one thread if its batches are
    cut into parts: it is little, and waking other threads for it costs more than they save."""
    parallel = any(isinstance(module, ThreadParallel) for module in network.modules())
    with num_threads(1 if parallel else torch.get_num_threads()):
        yield


def map_rows(work: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """work(*tensors), for work that treats each row on its own, in parts of the rows."""
    first = tensors[0]
    large = first.device.type == "cpu" and first.numel() >= ROWS_PAY_FROM
    parts = min(_count, len(first)) if large else 1
    if parts == 1:
        return work(*tensors)
    pieces = [tensor.tensor_split(parts) for tensor in tensors]
    return torch.cat(run_parallel(lambda n: work(*(piece[n] for piece in pieces)), parts, 1))


def run_parallel(work: Callable[[int], Tensor], count: int, threads: int) -> list[Tensor]:
    """[work(0), ..., work(count - 1)], all at the same time, each with `threads` threads for its
    layers; this thread does the first."""
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    low = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def inside(number: int) -> Tensor:
        with (
            num_threads(threads),
            torch.inference_mode(modes[1]),
            torch.set_grad_enabled(modes[0]),
            torch.autocast("cpu", low[1], enabled=low[0]),
        ):
            return work(number)

    others = [_threads().submit(inside, number) for number in range(1, count)]
    try:
        with num_threads(threads):
            first = work(0)
    finally:
        for other in others:
            other.exception()  # wait: nothing may still be running when an error goes up
    return [first, *(other.result() for other in others)]


@contextmanager
def num_threads(threads: int) -> Iterator[None]:
    """In this context, this thread computes each layer with `threads` threads; the number is a
    thread's own."""
    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if before != threads:
            torch.set_num_threads(before)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "part", torch.set_num_threads, (1,))
