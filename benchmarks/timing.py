"""Contestants take turns, so that changes of the machine's speed affect all of them equally."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustrun.devices.local import keep_freed_memory, return_freed_memory


@dataclass(frozen=True)
class Contestant:
    """One way of doing the work; `run` returns what it found (an accuracy, a loss), if anything."""

    name: str
    run: Callable[[], float | None]
    ours: bool = False


@dataclass(frozen=True)
class Row:
    """What one contestant took, and what it found."""

    work: str
    network: str
    contestant: str
    ours: bool
    seconds: float  # median
    fastest: float
    slowest: float
    rounds: int
    items: int  # images in one round
    found: float | None
    meaning: str  # of `found`
    flops: float | None  # of one round, as counted
    ratio: float | None = None  # to the fastest peer: above 1 is faster than it
    goal: str = ""
    turns: tuple[float, ...] = ()  # seconds of each
    spread: tuple[float, float] | None = None  # least and largest ratio of the same turn


def compare(
    work: str,
    network: str,
    contestants: list[Contestant],
    *,
    rounds: int,
    items: int,
    meaning: str,
    device: torch.device,
    goal: str = "",
    warm: bool = True,
    count: bool = True,
) -> list[Row]:
    """Medians over `rounds` turns. With `warm`, a turn that is not timed comes first, and what is
    found and the operations are counted in it; without, they are counted in the first one. To
    `count` takes hooks, for which torch.compile would compile once more."""
    times: list[list[float]] = [[] for _ in contestants]
    found: list[float | None] = [None] * len(contestants)
    flops = [0.0] * len(contestants)
    for turn in range(rounds + warm):
        for number, contestant in enumerate(contestants):
            gc.collect()
            _set_up_memory(contestant.ours)
            with counted() if turn == 0 and count else _nothing() as operations:
                answer, seconds = _timed(contestant, device)
            if turn == 0:
                found[number], flops[number] = answer, operations.flops
            if turn > 0 or not warm:
                times[number].append(seconds)
    about = {"work": work, "network": network, "items": items, "meaning": meaning, "goal": goal}
    return with_ratios(
        [
            _row(contestant, times[number], found[number], flops[number], about)
            for number, contestant in enumerate(contestants)
        ]
    )


def _row(
    contestant: Contestant,
    seconds: list[float],
    found: float | None,
    flops: float,
    about: dict[str, Any],
) -> Row:
    """What one contestant took in its turns, in a row of the work that `about` describes."""
    return Row(
        contestant=contestant.name,
        ours=contestant.ours,
        seconds=statistics.median(seconds),
        fastest=min(seconds),
        slowest=max(seconds),
        rounds=len(seconds),
        found=found,
        flops=flops or None,
        turns=tuple(seconds),
        **about | ({} if contestant.ours else {"goal": ""}),
    )


def _timed(contestant: Contestant, device: torch.device) -> tuple[float | None, float]:
    """What the contestant finds, and the seconds that it takes."""
    began = time.perf_counter()
    answer = contestant.run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return answer, time.perf_counter() - began


def _set_up_memory(ours: bool) -> None:
    """robustrun sets up the memory of its process; a peer has what it would have in its own: the
    thresholds at which the GNU C library arrives by itself once large blocks were freed."""
    if ours:
        keep_freed_memory()
    else:
        return_freed_memory()


def with_ratios(rows: list[Row]) -> list[Row]:
    """Each row with its speed as a multiple of the fastest peer's, and the same turn by turn."""
    peers = [row for row in rows if not row.ours]
    if not peers:
        return rows
    peer = min(peers, key=lambda row: row.seconds)
    return [_beside(row, peer) for row in rows]


def _beside(row: Row, peer: Row) -> Row:
    ratios = [theirs / own for theirs, own in zip(peer.turns, row.turns, strict=False)]
    spread = (min(ratios), max(ratios)) if ratios else None
    return replace(row, ratio=peer.seconds / row.seconds, spread=spread)


@dataclass
class Count:
    """Operations of convolutions and linear layers, an addition and a multiplication being two."""

    flops: float = 0.0


@contextmanager
def counted() -> Iterator[Count]:
    """While it is open, all such layers of whatever network are counted.

    A backward pass is taken to cost as much as the forward pass for the gradient of the input,
    and as much again for that of the weights, where autograd stands ready for them: too much
    for a graph that no gradient follows, as of the natural prediction in TRADES' inner loop.
    """
    count = Count()

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            return
        forward = 2.0 * output.numel() * layer.weight[0].numel()
        count.flops += forward * (1 + _passes_back(layer, inputs[0]))

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        yield count
    finally:
        handle.remove()


def _passes_back(layer: nn.Module, x: Tensor) -> int:
    if not torch.is_grad_enabled():
        return 0
    trained = any(p.requires_grad for p in layer.parameters())
    return int(x.requires_grad) + int(trained and layer.training)


@contextmanager
def _nothing() -> Iterator[Count]:
    yield Count()
