"""Learning-rate schedules: the factor on `optimizer.lr` as a function of the share of steps done.

Every schedule is a closed formula of that share, set before each step, so that a rate can never
compound over epochs and a resumed run needs no schedule state.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from robustrun.errors import require
from robustrun.types import SCHEDULES

ROUNDING = 1e-9  # 74/76 of 760 steps must count as reached at step 740 in floating point


def warm_up(progress: float, length: float) -> float:
    """A further factor for any schedule: from 0 to 1 in the first `length` of the run."""
    return min(1.0, progress / length) if length else 1.0


@SCHEDULES.register("constant")
@dataclass(frozen=True)
class Constant:
    """1 throughout."""

    def factor(self, progress: float) -> float:
        return 1.0


@SCHEDULES.register("multistep")
@dataclass(frozen=True)
class MultiStep:
    """Multiplied by `gamma` as each milestone (a share of the run) is passed."""

    milestones: tuple[float, ...]
    gamma: float

    def __post_init__(self) -> None:
        require(0 < self.gamma <= 1, "gamma", self.gamma, "above 0 and at most 1")
        require(
            all(0 < m <= 1 for m in self.milestones),
            "milestones",
            list(self.milestones),
            "shares of the run, above 0 and at most 1",
        )

    def factor(self, progress: float) -> float:
        passed = sum(progress + ROUNDING >= milestone for milestone in self.milestones)
        return float(self.gamma**passed)


@SCHEDULES.register("onecycle")
@dataclass(frozen=True)
class OneCycle:
    """From `start` up to 1 at `peak` and down to `end` (Smith, https://arxiv.org/abs/1708.07120).

    Momentum, if given, goes the other way. With `moves` the values are those of PyTorch's
    OneCycleLR stepped as often: the first is `start`, the last one `end`, and the peak comes one
    move before the share `peak`. Without, they move smoothly with every step.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = {
        "shape": "line",
        "start": 0.0,
        "end": 0.0,
        "momentum": None,
        "moves": None,
        "length": 1.0,
    }

    rises: ClassVar[bool] = True  # so that no warm-up comes before it

    peak: float  # share of the cycle
    shape: Literal["line", "cosine"]
    start: float  # factor on the rate at the beginning of the cycle
    end: float  # and at its end
    momentum: tuple[float, float] | None  # at both ends of the cycle, and at its peak
    moves: int | None  # how often the values change in a run; None: with every step
    length: float  # of the cycle, in runs

    def __post_init__(self) -> None:
        require(0 < self.peak < 1, "peak", self.peak, "a share of the cycle between 0 and 1")
        for key in ("start", "end"):
            require(0 <= getattr(self, key) <= 1, key, getattr(self, key), "a factor in [0, 1]")
        momentum, moves = self.momentum, self.moves
        require(
            momentum is None or all(0 <= value < 1 for value in momentum),
            "momentum",
            momentum and list(momentum),
            "two values, at least 0 and below 1, or null",
        )
        require(moves is None or moves >= 1, "moves", moves, "at least 1, or null")
        require(self.length >= 1, "length", self.length, "in runs, at least 1")

    def factor(self, progress: float) -> float:
        height, rising = self._height(progress)
        low = self.start if rising else self.end
        return low + (1 - low) * height

    def momentum_at(self, progress: float) -> float | None:
        if self.momentum is None:
            return None
        at_ends, at_peak = self.momentum
        return at_ends + (at_peak - at_ends) * self._height(progress)[0]

    def _height(self, progress: float) -> tuple[float, bool]:
        """How near the peak is, from 0 to 1, and whether it is still to come."""
        place, top, last = progress / self.length, self.peak, 1.0
        if self.moves is not None:
            place = math.floor(progress * self.moves + ROUNDING)
            top, last = self.peak * self.moves * self.length - 1, self.moves * self.length - 1
        rising = place < top
        height = place / top if rising else (last - min(place, last)) / (last - top)
        return (
            0.5 * (1 - math.cos(math.pi * height)) if self.shape == "cosine" else height
        ), rising


@SCHEDULES.register("cosine")
@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to 0 (Loshchilov and Hutter, https://arxiv.org/abs/1608.03983)."""

    def factor(self, progress: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * progress))
