"""Overfitting that accuracy on the training set does not show, read from the epochs' rows."""

from dataclasses import dataclass
from typing import Any, Literal

Row = dict[str, Any]
HALF, POINTS = 0.5, 0.10  # catastrophic: below half of the best, and by more than ten points
LOST, EPOCHS = 0.03, 3  # robust: so many points below the best, so many epochs in a row


@dataclass(frozen=True)
class Collapse:
    """When robust accuracy on the validation split was lost, and from where."""

    kind: Literal["catastrophic_overfitting", "robust_overfitting"]
    epoch: int
    robust_accuracy: float
    best: float
    best_epoch: int

    def __str__(self) -> str:
        return (
            f"{self.kind.replace('_', ' ')} at epoch {self.epoch}: robust accuracy on the "
            f"validation split is {self.robust_accuracy:.1%}, after {self.best:.1%} at epoch "
            f"{self.best_epoch}"
        )


def collapses(history: list[Row]) -> list[Collapse]:
    """The first collapse of each kind.

    Catastrophic overfitting: single-step training whose accuracy under many steps breaks down
    (Wong et al. 2020, https://arxiv.org/abs/2001.03994, section 5.4). Robust overfitting: the
    training loss still falls, and robust accuracy with it (Rice et al. 2020,
    https://arxiv.org/abs/2002.11569).
    """
    rows = [row for row in history if row["validation_robust_accuracy"] is not None]
    found: dict[str, Collapse] = {}
    for place, row in enumerate(rows):
        best = max(rows[: place + 1], key=_robust)
        for kind, holds in (
            ("catastrophic_overfitting", _broken_down(row, best)),
            ("robust_overfitting", _overfitted(rows[: place + 1], best)),
        ):
            if holds and kind not in found:
                values = row["epoch"], _robust(row), _robust(best), best["epoch"]
                found[kind] = Collapse(kind, *values)  # type: ignore[arg-type]
    return list(found.values())


def _robust(row: Row) -> float:
    return float(row["validation_robust_accuracy"])


def _broken_down(row: Row, best: Row) -> bool:
    return _robust(row) < HALF * _robust(best) and _robust(best) - _robust(row) > POINTS


def _overfitted(rows: list[Row], best: Row) -> bool:
    recent = rows[-EPOCHS:]
    lost = all(_robust(best) - _robust(row) >= LOST and row is not best for row in recent)
    return len(recent) == EPOCHS and lost and recent[-1]["train_loss"] < best["train_loss"]
