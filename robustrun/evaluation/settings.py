"""What is measured when training is done."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from robustrun.errors import require
from robustrun.evaluation.audit.settings import AuditSettings
from robustrun.types import Attack

# What results, tables and summaries have beside attacks: none may be called so.
NOT_ATTACKS = (
    *("clean", "worst_case", "worst case", "run", "status", "seconds", "error", "audit"),
    *("seed", "attack", "dataset", "device", "evaluation", "experiment", "method", "model"),
    *("optimizer", "schedule", "tracker"),  # columns of what was swept
)


@dataclass(frozen=True)
class Corruptions:
    """Where the official files of CIFAR-10-C, ImageNet-C or their like are, and which are
    measured."""

    ADDED_LATER: ClassVar[dict[str, Any]] = {"download": False}

    root: str
    download: bool
    names: tuple[str, ...] | None  # null: the fifteen of the benchmark
    severities: tuple[int, ...]

    def __post_init__(self) -> None:
        require(len(self.severities) > 0, "severities", list(self.severities), "some of 1 to 5")


@dataclass(frozen=True)
class Perturbations:
    """The same for CIFAR-10-P."""

    ADDED_LATER: ClassVar[dict[str, Any]] = {"download": False}

    root: str
    download: bool
    names: tuple[str, ...] | None  # null: the ten of the benchmark


@dataclass(frozen=True)
class Certificate:
    """How the smoothed classifier is certified: see robustrun.evaluation.certificate."""

    sigma: float  # standard deviation of the noise, pixel units
    every: int  # every so many of the measured images, from the first on
    selection_samples: int  # noisy copies of an image that choose the class
    samples: int  # others, whose votes bound its share
    alpha: float  # the probability that a certificate is wrong, at most
    radii: tuple[float, ...]  # l2, pixel units, at which certified accuracy is told

    def __post_init__(self) -> None:
        require(self.sigma > 0, "sigma", self.sigma, "above 0, in pixel units")
        for name in ("every", "selection_samples", "samples"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(0 < self.alpha < 0.5, "alpha", self.alpha, "between 0 and 0.5")
        require(all(r > 0 for r in self.radii), "radii", list(self.radii), "all above 0")


@dataclass(frozen=True)
class EvaluationPlan:
    """What is measured when training is done, beside the run's own attack."""

    ADDED_LATER: ClassVar[dict[str, Any]] = {"certificate": None}

    examples: int | None
    choose: Literal["first", "random"]
    batch_size: int
    radii: tuple[float, ...]  # multiples of the attack's radius
    attacks: dict[str, Attack]
    audit: AuditSettings | None
    corruptions: Corruptions | None
    perturbations: Perturbations | None
    certificate: Certificate | None

    def __post_init__(self) -> None:
        require(self.examples is None or self.examples >= 1, "examples", self.examples, ">= 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(all(r > 0 for r in self.radii), "radii", list(self.radii), "all above 0")
        for name in self.attacks:
            usable = bool(name.strip()) and name not in NOT_ATTACKS
            require(usable, "attacks", name, f"named otherwise than {', '.join(NOT_ATTACKS)}")
