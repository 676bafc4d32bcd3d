"""Learning-rate schedules: the factor on `optimizer.lr` as a function of the share of steps done.

Every schedule is a closed formula of that share, set before each step, so that a rate can never
compound over epochs and a resumed run needs no schedule state.
"""

import math
from dataclasses import dataclass

from robustrun.errors import require
from robustrun.types import SCHEDULES

ROUNDING = 1e-9  # 74/76 of 760 steps must count as reached at step 740 in floating point


def _warm(progress: float, warmup: float) -> float:
    return min(1.0, progress / warmup) if warmup else 1.0


def _check_warmup(warmup: float) -> None:
    require(0 <= warmup < 1, "warmup", warmup, "a share of the run, at least 0 and below 1")


@SCHEDULES.register("constant")
@dataclass(frozen=True)
class Constant:
    """1, after an optional linear warm-up."""

    warmup: float

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)

    def factor(self, progress: float) -> float:
        return _warm(progress, self.warmup)


@SCHEDULES.register("multistep")
@dataclass(frozen=True)
class MultiStep:
    """Multiplied by `gamma` as each milestone (a share of the run) is passed."""

    milestones: tuple[float, ...]
    gamma: float
    warmup: float

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)
        require(0 < self.gamma <= 1, "gamma", self.gamma, "above 0 and at most 1")
        require(
            all(0 < m <= 1 for m in self.milestones),
            "milestones",
            list(self.milestones),
            "shares of the run, above 0 and at most 1",
        )

    def factor(self, progress: float) -> float:
        passed = sum(progress + ROUNDING >= milestone for milestone in self.milestones)
        return float(_warm(progress, self.warmup) * self.gamma**passed)


@SCHEDULES.register("onecycle")
@dataclass(frozen=True)
class OneCycle:
    """Linear from 0 to 1 at `peak` and back to 0 (Smith, https://arxiv.org/abs/1708.07120)."""

    peak: float

    def __post_init__(self) -> None:
        require(0 < self.peak < 1, "peak", self.peak, "a share of the run between 0 and 1")

    def factor(self, progress: float) -> float:
        if progress < self.peak:
            return progress / self.peak
        return (1 - progress) / (1 - self.peak)


@SCHEDULES.register("cosine")
@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to 0 (Loshchilov and Hutter, https://arxiv.org/abs/1608.03983)."""

    warmup: float

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)

    def factor(self, progress: float) -> float:
        return _warm(progress, self.warmup) * 0.5 * (1 + math.cos(math.pi * progress))
