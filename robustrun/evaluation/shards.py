"""Numbered work of a measurement, of which each process does its part: no verdict depends on how
many there are, since each batch has its own number and its own randomness."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from robustrun.compute import processes
from robustrun.storage.journal import Journal
from robustrun.types import Images

Work = Callable[[list[int]], Iterable[tuple[int, Any]]]  # numbers -> a finding for each, in turn


def own(numbers: list[int]) -> list[int]:
    """Of the numbers those that this process does."""
    return numbers[processes.rank() :: processes.count()]


def findings(keys: list[str], work: Work, journal: Journal) -> list[Any]:
    """The finding (plain JSON values) under each of `keys`, the same on every process: what the
    journal has, and what `work` finds for the others."""
    known = {number: journal.recall(key) for number, key in enumerate(keys)}
    missing = [number for number, finding in known.items() if finding is None]

    def mine() -> list[tuple[int, Any]]:
        found = []
        with processes.alone():
            for number, finding in work(own(missing)):
                journal.note(keys[number], finding)
                found.append((number, finding))
        return found

    if missing:
        for part in processes.combined(mine):
            known |= dict(part)
    return [known[number] for number in range(len(keys))]


def batches_of(
    images: Images, tried: Tensor, numbers: list[int], batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches with these numbers, of all that `tried` (indices) makes."""
    parts = torch.split(tried, batch_size)
    order = torch.cat([parts[number] for number in numbers]) if numbers else tried[:0]
    return images.batches(batch_size, order, device)
