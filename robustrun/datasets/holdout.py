"""A test part cut from images that come in one piece: the same share of each class."""

import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from robustrun.datasets.settings import HELD_OUT
from robustrun.datasets.subset import stratified_indices
from robustrun.errors import ConfigError, DataError, require

log = logging.getLogger(__name__)


class HoldoutSettings(Protocol):
    """The keys of a data set that may come in one piece."""

    @property
    def test_fraction(self) -> float: ...

    @property
    def test_seed(self) -> int: ...


class Holdout(NamedTuple):
    """Positions among the images that came in one piece, each in their order."""

    train: Tensor
    test: Tensor
    told: str  # how they were cut


def check_holdout(settings: HoldoutSettings) -> None:
    """Raise ConfigError, which begins with the key, unless the keys are in range."""
    share, seed = settings.test_fraction, settings.test_seed
    require(0 < share < 1, "test_fraction", share, "a share, above 0 and below 1")
    require(0 <= seed < 2**32, "test_seed", seed, "at least 0 and below 2**32")


def hold_out(
    labels: Tensor, class_names: Sequence[str], settings: HoldoutSettings, place: str
) -> Holdout:
    """Of each class its share to test on, at least one image; `place` says what has no test part.

    Depends on the labels' order and on `test_seed`, and not on the seed of a run: every run of a
    data set has the same test images. DataError or ConfigError for a class that would be empty.
    """
    share, seed = settings.test_fraction, settings.test_seed
    counts = labels.bincount(minlength=len(class_names))
    if (counts == 1).any():
        alone = class_names[int((counts == 1).nonzero()[0])]
        raise DataError(
            f"{place} has no test part, and none can be cut from it: class {alone!r} has one image."
        )
    test = stratified_indices(labels, len(class_names), share, seed)
    is_left = torch.ones(len(labels), dtype=torch.bool)
    is_left[test] = False
    train = is_left.nonzero()[:, 0]
    left = labels[train].bincount(minlength=len(class_names))
    if (empty := (left == 0) & (counts > 0)).any():
        name = class_names[int(empty.nonzero()[0])]
        raise ConfigError(
            f"dataset.test_fraction is {share:g}, which leaves no training image of class {name!r}."
        )
    told = f"{HELD_OUT}: {share:g} of each class (dataset.test_fraction), dataset.test_seed {seed}"
    counted = place, len(test), len(labels), told
    log.warning("%s has no test part: %d of %d images are %s", *counted)
    return Holdout(train, test, told)
