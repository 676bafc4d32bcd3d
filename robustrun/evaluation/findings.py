"""Findings that are plain values, as results.json has them. Needs no torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class StageResult:
    """A part of an attack made of attacks."""

    name: str
    standing: int  # images that are right after it
    seconds: float


@dataclass(frozen=True)
class Check:
    """One question that the audit puts to a number."""

    check: str
    status: Literal["pass", "warn", "fail"]
    measured: float | str | None = None  # None: not finite
    expected: float | str | None = None
    why: str = ""  # what was found and means, and unless it passes what to do


@dataclass(frozen=True)
class CorruptionResult:
    """Accuracy under common corruptions."""

    accuracy: float | None  # mean over corruptions; fractions, as all others; None: not finite
    by_corruption: dict[str, float]  # mean over severities
    by_severity: dict[str, dict[str, float]]  # corruption: severity: accuracy
    non_finite: int  # images whose logits are not finite
    seconds: float
    mean_corruption_error: float | None = None  # ImageNet-C's mCE: AlexNet's is 1


@dataclass(frozen=True)
class FlipResult:
    """How often perturbation sequences flip an answer."""

    flip_rate: (
        float | None
    )  # mean over perturbations, of the share of frames that change the answer
    by_perturbation: dict[str, float]
    non_finite: int  # images whose logits are not finite
    seconds: float
