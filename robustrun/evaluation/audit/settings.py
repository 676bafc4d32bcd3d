"""What the audit of an evaluation does, and when it warns."""

from dataclasses import dataclass

from robustrun.errors import require
from robustrun.types import Attack


@dataclass(frozen=True)
class Differences:
    """Attack by finite differences: the slope over a neighbourhood instead of at a point.

    The directions are random signs on `cells` x `cells` squares of the image, channels apart.
    """

    examples: int  # images, of those that are audited
    steps: int
    samples: int  # directions at each step, two passes each
    cells: int
    reach: float  # how far to look to either side, as a share of the radius

    def __post_init__(self) -> None:
        for name in ("examples", "steps", "samples", "cells"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(0 < self.reach <= 1, "reach", self.reach, "a share of the radius, above 0")


@dataclass(frozen=True)
class AuditSettings:
    """How thorough the audit is, and from where on a difference counts."""

    examples: int | None  # images, drawn from those measured; null: all
    tolerance: float  # share of the images that another attack may take from the robust accuracy
    gap: float  # the same for the targeted attack
    passes: int  # over the same images, to see whether the answer changes
    steps: int  # of the stronger PGD
    restarts: int  # of the stronger PGD
    step: float  # of the stronger PGD, as a share of the radius
    surrogate_steps: int  # of training a network on what the audited one answers
    differences: Differences
    targeted: Attack
    black_box: Attack

    def __post_init__(self) -> None:
        examples = self.examples
        require(examples is None or examples >= 1, "examples", examples, "at least 1, or null")
        for name in ("tolerance", "gap"):
            require(0 < getattr(self, name) < 1, name, getattr(self, name), "a share, 0 to 1")
        require(self.passes >= 2, "passes", self.passes, "at least 2")
        for name in ("steps", "restarts", "surrogate_steps"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.step > 0, "step", self.step, "a share of the radius, above 0")
