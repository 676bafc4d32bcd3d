"""What APGD's blocks of settings hold: checks of the step size, phases, sparsity (Croce & Hein
2020, https://arxiv.org/abs/2003.01690; for l1: 2021, https://arxiv.org/abs/2103.01208).
"""

from dataclasses import asdict, dataclass

from robustrun.errors import require


@dataclass(frozen=True)
class Checks:
    """When the step size is checked: periods as shares of the steps, the later the shorter."""

    first: float
    shorter: float  # what each period is shorter by than the one before
    shortest: float

    def __post_init__(self) -> None:
        for name, share in asdict(self).items():
            require(0 <= share <= 1, name, share, "a share of the steps, 0 to 1")

    def periods(self, steps: int) -> dict[int, int]:
        """The length of the period that ends after each step with a check."""
        first, shorter, shortest = (
            max(int(share * steps), 1) for share in (self.first, self.shorter, self.shortest)
        )
        ends: dict[int, int] = {}
        end, period = first, first
        while end <= steps:
            ends[end] = period
            period = max(period - shorter, shortest)
            end += period
        return ends


@dataclass(frozen=True)
class Phase:
    """A part of a run in a ball of its own; for l1, larger balls lead to a good start."""

    radius: float  # multiple of epsilon
    share: float  # of the steps

    def __post_init__(self) -> None:
        require(self.radius > 0, "radius", self.radius, "above 0")
        require(0 <= self.share <= 1, "share", self.share, "a share of the steps, 0 to 1")


@dataclass(frozen=True)
class Sparsity:
    """l1 only: a step moves the pixels with the largest gradients, few and then fewer."""

    start: float  # share of the pixels that a step moves before the first check
    divisor: float  # later: the share of pixels changed in the best point, divided by this
    stable: float  # below this part of the former number of changed pixels, the step starts again
    step_divisor: float  # otherwise the step size is divided by this,
    smallest_step: float  # down to this share of the first

    def __post_init__(self) -> None:
        require(0 < self.start <= 1, "start", self.start, "a share above 0, up to 1")
        require(self.divisor >= 1, "divisor", self.divisor, "at least 1")
        require(self.step_divisor >= 1, "step_divisor", self.step_divisor, "at least 1")
        require(0 < self.smallest_step <= 1, "smallest_step", self.smallest_step, "0 to 1")
