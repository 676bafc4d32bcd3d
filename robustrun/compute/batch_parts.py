"""The part of a training batch that this process has, while its step is under way.

The batch is the whole one that `training.batch_size` asks for; each process has some of its rows.
What is random for a batch is drawn for all of its rows, by every process from the same generator,
and cut, and what is a mean over a batch is one over the whole: so several processes do what one
does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from robustrun.compute import processes


@dataclass(frozen=True)
class Part:
    """Rows `first` to `first + rows` of a batch of `total`.

    Where a batch has fewer rows than there are processes, one without any takes part in the step
    with the first row, which counts for nothing.
    """

    first: int
    rows: int
    total: int

    def of(self, values: Tensor, dim: int = 0) -> Tensor:
        """These rows of something that is there for the whole batch."""
        return values.narrow(dim, self.first if self.rows else 0, max(self.rows, 1))

    def in_whole(self, values: Tensor) -> Tensor:
        """A whole batch with `values` in these rows, and zeros in the others."""
        if len(values) == self.total:
            return values
        whole = values.new_zeros((self.total, *values.shape[1:]))
        self.of(whole).copy_(values)
        return whole


_part: Part | None = None
_reading = False  # whether what is read now will be cut


def part_of(total: int) -> Part:
    """This process's part of a batch of `total` rows."""
    least, more = divmod(total, processes.count())
    rank = processes.rank()
    return Part(rank * least + min(rank, more), least + (rank < more), total)


def all_of(total: int) -> Part:
    """A batch of `total` rows that is not shared."""
    return Part(0, total, total)


@contextmanager
def working_on(part: Part | None) -> Iterator[None]:
    """In this context, batches are the parts of whole ones that `part` says."""
    global _part
    before, _part = _part, part
    try:
        yield
    finally:
        _part = before


def cut(batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each whole batch this process's part; until the next is asked for, it is worked on."""
    global _reading
    if processes.count() == 1:
        yield from batches
        return
    _reading = True
    try:
        for x, y in batches:
            part = part_of(len(y))
            with working_on(part):
                yield part.of(x), part.of(y)
    finally:
        _reading = False


def to_read(total: int) -> Part:
    """The rows of a batch that have to be read: all, or where it is to be cut, the part here."""
    return part_of(total) if _reading else all_of(total)


def share() -> float:
    """The share of this process's rows in the whole batch: the weight of a mean over its rows."""
    return 1.0 if _part is None else _part.rows / _part.total


def weighted(mean: Tensor) -> Tensor:
    """A mean over the rows here, so that the sum over the processes is the mean over the batch."""
    return mean if share() == 1.0 else mean * share()


def batch_mean(mean: Tensor) -> Tensor:
    """The mean over the whole batch, given that over the rows here; without its graph."""
    mean = mean.detach()
    return mean if _part is None else processes.summed(weighted(mean).clone())


def total_rows(x: Tensor) -> int:
    """How many rows the whole batch has, of which `x` is the part here."""
    return len(x) if _part is None else _part.total


def whole_like(x: Tensor) -> Tensor:
    """A new tensor, whose values are not set, for the whole batch that `x` is a part of."""
    if _part is None:
        return torch.empty_like(x)
    shape = (_part.total, *x.shape[1:])
    return torch.empty_strided(shape, x.stride(), dtype=x.dtype, device=x.device)


def own_rows(whole: Tensor) -> Tensor:
    """What belongs to the rows here, of something that is there for the whole batch."""
    return whole if _part is None else _part.of(whole)


def all_rows(x: Tensor) -> Tensor:
    """The whole batch, given the rows of it that are here."""
    if _part is None:
        return x
    rows = -(-_part.total // processes.count())  # of the process that has most
    padded = x.new_zeros((rows, *x.shape[1:]))
    padded[: _part.rows] = x[: _part.rows]
    everyone = processes.gathered(padded)
    counts = [part.rows for part in _all_parts(_part.total)]
    return torch.cat([rows[:count] for rows, count in zip(everyone, counts, strict=True)])


def _all_parts(total: int) -> list[Part]:
    least, more = divmod(total, processes.count())
    rows = [least + (rank < more) for rank in range(processes.count())]
    return [Part(sum(rows[:rank]), rows[rank], total) for rank in range(len(rows))]


@contextmanager
def only(chosen: Tensor) -> Iterator[Tensor]:
    """In this context the rows `chosen` (indices) of each process make up the batch. Yielded are
    the rows to work on: these, or one that counts for nothing where only others have any."""
    if _part is None:
        yield chosen
        return
    mine = min(len(chosen), _part.rows)
    rows = [int(number) for number in processes.exchange(mine)]
    first, total = sum(rows[: processes.rank()]), sum(rows)
    with working_on(Part(first, mine, total)):
        yield chosen[:mine] if mine or not total else chosen.new_zeros(1)
