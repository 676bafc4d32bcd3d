"""What the settings of every data set share: its customary radii, and the checks of common keys."""

from dataclasses import dataclass
from typing import Any, Protocol

from robustrun.datasets.augmentation import AugmentSettings
from robustrun.errors import require

HELD_OUT = "held out"  # so begins what is told of a test part that was cut from the training images
# Keys that runs from before them lack, with the value of what those runs did.
ADDED_LATER: dict[str, Any] = {
    "crop_border": "zeros",
    "policy": None,
    "color_jitter": 0.0,
    "rotation": 0.0,
    "classes": None,
    "fraction": 1.0,
    "fraction_seed": 0,
}


@dataclass(frozen=True)
class Radii:
    """The radii that are customary on a data set, in pixel units, for each norm."""

    linf: float
    l2: float
    l1: float

    def __post_init__(self) -> None:
        for norm, radius in vars(self).items():
            require(radius > 0, norm, radius, "a radius above 0, in pixel units")


class Settings(AugmentSettings, Protocol):
    """The keys that every data set has."""

    @property
    def classes(self) -> tuple[str | int, ...] | None: ...

    @property
    def fraction(self) -> float: ...

    @property
    def fraction_seed(self) -> int: ...

    @property
    def imbalance_ratio(self) -> float | None: ...

    @property
    def imbalance_seed(self) -> int: ...

    @property
    def mean(self) -> tuple[float, ...]: ...

    @property
    def std(self) -> tuple[float, ...]: ...


def check(settings: Settings) -> None:
    """Raise ConfigError, which begins with the key, unless the common keys are in range."""
    require(settings.crop_padding >= 0, "crop_padding", settings.crop_padding, "pixels, at least 0")
    jitter, rotation = settings.color_jitter, settings.rotation
    require(0 <= jitter <= 1, "color_jitter", jitter, "the largest change of a factor, in [0, 1]")
    require(0 <= rotation <= 180, "rotation", rotation, "degrees, at least 0 and at most 180")
    check_subset(settings)
    mean, std = list(settings.mean), list(settings.std)
    require(len(mean) > 0, "mean", mean, "a list with one number, or one per channel")
    require(len(std) == len(mean), "std", std, f"as long as mean, which has {len(mean)}")
    require(all(value > 0 for value in std), "std", std, "all above 0")


def check_subset(settings: Settings) -> None:
    """The keys that say which images are used."""
    classes, fraction = settings.classes, settings.fraction
    require(
        classes is None or len(classes) >= 2,
        "classes",
        None if classes is None else list(classes),
        "a list of at least two classes, by name or number, or null",
    )
    require(0 < fraction <= 1, "fraction", fraction, "a share, above 0 and at most 1")
    ratio = settings.imbalance_ratio
    require(
        ratio is None or 0 < ratio <= 1,
        "imbalance_ratio",
        ratio,
        "the smallest class's share of the largest, above 0 and at most 1, or null",
    )
    for key in ("fraction_seed", "imbalance_seed"):
        seed = getattr(settings, key)
        require(0 <= seed < 2**32, key, seed, "at least 0 and below 2**32")
