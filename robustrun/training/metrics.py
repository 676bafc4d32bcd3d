"""What is told of a training: an epoch's row of metrics.csv, and overfitting. Needs no torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch. What was not measured is None."""

    epoch: int  # from 1
    step: int  # updates of the weights so far
    lr: float  # of the last step
    train_loss: float | None  # mean over the images; None: every step was left out
    train_accuracy: float | None  # fractions in [0, 1], as the two that follow
    validation_clean_accuracy: float | None
    validation_robust_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class Overfitting:
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
