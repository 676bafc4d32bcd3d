"""Overfitting that accuracy on the training set does not show, read from the epochs' rows and from
which validation images withstood the attack."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from robustrun.evaluation.statistics import at_least
from robustrun.training.metrics import EpochMetrics, Overfitting

Verdicts = Mapping[int, Tensor]  # by epoch, as `packed` made them
HALF, POINTS = 0.5, 0.10  # catastrophic: below half of the best, and by more than ten points
LOST, EPOCHS = 0.03, 3  # robust: so many points below the best, so many epochs in a row
ALARM = 0.05  # the chance that a run in which nothing is lost is warned of


def packed(robust: np.ndarray) -> Tensor:
    """Verdicts (bool, one per validation image) as bits in a uint8 tensor: a checkpoint keeps
    those of every epoch."""
    return torch.from_numpy(np.packbits(robust))


def overfitting_in(
    history: list[EpochMetrics], verdicts: Verdicts, epochs: int
) -> list[Overfitting]:
    """The first collapse of each kind, in a run of so many `epochs`. An epoch without verdicts is
    passed over.

    Catastrophic overfitting: single-step training whose accuracy under many steps breaks down
    (Wong et al. 2020, https://arxiv.org/abs/2001.03994, section 5.4). Robust overfitting: the
    training loss still falls, and robust accuracy with it (Rice et al. 2020,
    https://arxiv.org/abs/2002.11569).
    """
    rows = [row for row in history if row.epoch in verdicts]
    level = ALARM / max(1, epochs * (epochs - 1) // 2)
    first: dict[str, Overfitting] = {}
    for place, row in enumerate(rows):
        best = max(rows[: place + 1], key=_robust)
        recent = rows[: place + 1][-EPOCHS:]
        for kind, holds, lost in (
            ("catastrophic_overfitting", _broken_down(recent, best), [row]),
            ("robust_overfitting", _overfitted(recent, best), recent),
        ):
            if kind not in first and holds and _beyond_luck(lost, best, verdicts, level):
                values = row.epoch, _robust(row), _robust(best), best.epoch
                first[kind] = Overfitting(kind, *values)  # type: ignore[arg-type]
    return list(first.values())


def _robust(row: EpochMetrics) -> float:
    assert row.validation_robust_accuracy is not None  # an epoch with verdicts has one
    return row.validation_robust_accuracy


def _loss(row: EpochMetrics) -> float:
    return math.nan if row.train_loss is None else row.train_loss


def _broken_down(recent: list[EpochMetrics], best: EpochMetrics) -> bool:
    """One epoch is enough where the training loss fell; where it rose, the next may be better."""
    there = recent[-1:] if _loss(recent[-1]) < _loss(best) else recent[-2:]
    return all(
        _robust(row) < HALF * _robust(best) and _robust(best) - _robust(row) > POINTS
        for row in there
    )


def _overfitted(recent: list[EpochMetrics], best: EpochMetrics) -> bool:
    lost = all(_robust(best) - _robust(row) >= LOST and row is not best for row in recent)
    return len(recent) == EPOCHS and lost and _loss(recent[-1]) < _loss(best)


def _beyond_luck(
    rows: list[EpochMetrics], best: EpochMetrics, verdicts: Verdicts, level: float
) -> bool:
    """Whether each of `rows` lost more of the images that `best` withstood than it won of others,
    and by more than a fair coin would. The best is the luckiest of many epochs, so `level` is a
    share of ALARM: one of as many as there are pairs of epochs (Bonferroni)."""
    then = verdicts[best.epoch]
    changes = [(_bits(then & ~now), _bits(now & ~then)) for now in _of(rows, verdicts)]
    return all(at_least(lost, lost + won) <= level for lost, won in changes)


def _of(rows: list[EpochMetrics], verdicts: Verdicts) -> list[Tensor]:
    return [verdicts[row.epoch] for row in rows]


def _bits(packed_verdicts: Tensor) -> int:
    return int(np.unpackbits(packed_verdicts.numpy()).sum())
