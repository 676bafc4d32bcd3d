"""What an epoch is measured by: a row of metrics.csv."""

from dataclasses import dataclass


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
