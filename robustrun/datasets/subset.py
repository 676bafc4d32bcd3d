"""The part of a data set that its settings leave: its classes, a share of its training images.

In this order: `classes`, `fraction`, `imbalance_ratio`. The validation split is cut from what is
left, and the test images are all those of the classes.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from robustrun.datasets.decoded import DecodedImages
from robustrun.datasets.files import FileImages
from robustrun.datasets.longtail import long_tailed_indices
from robustrun.datasets.relabelled import Relabelled
from robustrun.datasets.settings import Settings
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import ConfigError, did_you_mean, listed
from robustrun.types import Images, Splits

log = logging.getLogger(__name__)
SHOWN = 20  # classes that a message lists


def make_splits(
    train: Images,
    test: Images,
    class_names: tuple[str, ...],
    settings: Settings,
    validation_from: Literal["random", "tail"] = "random",
) -> Splits:
    """Splits with what the settings leave of the training part, and the classes of the test part.

    ConfigError for a class that the data set does not have, or if none of its images is left.
    """
    splits = Splits(train, test, class_names, validation_from)
    if settings.classes is not None:
        splits = with_classes(splits, settings.classes)
    else:
        _tell_order(class_names)
    if len(splits.train) == 0:  # measured alone
        return splits
    labels, classes = splits.train.labels, splits.classes
    if settings.fraction < 1:
        kept = stratified_indices(labels, classes, settings.fraction, settings.fraction_seed)
        splits = with_training_part(splits, kept)
        log.info("dataset.fraction: %d of %d training images", len(kept), len(labels))
    if settings.imbalance_ratio is not None:
        ratio, seed = settings.imbalance_ratio, settings.imbalance_seed
        kept = long_tailed_indices(splits.train.labels, classes, ratio, seed)
        splits = with_training_part(splits, kept)
    return splits


def _tell_order(names: tuple[str, ...]) -> None:
    """Say that classes which are called by numbers are not counted by these: folders and texts are
    in the order of texts, as torchvision and Hugging Face have them."""
    if not all(name.isdecimal() and str(int(name)) == name for name in names):
        return
    by_value = sorted(names, key=int)
    if list(names) == sorted(names) != by_value:
        more = ",…" if len(names) > SHOWN else ""
        log.info(
            "the classes are counted in the order of texts: %s. For a network that counts them by "
            "their value: dataset.classes=[%s%s]",
            *(listed(names, 4), ",".join(by_value[:SHOWN]), more),
        )


def with_training_part(splits: Splits, kept: Tensor) -> Splits:
    """The splits with these of their training images; `chosen` counts the official ones."""
    chosen = kept if splits.chosen is None else splits.chosen[kept]
    return replace(splits, train=splits.train.subset(kept), chosen=chosen)


def stratified_indices(labels: Tensor, classes: int, fraction: float, seed: int) -> Tensor:
    """Which examples stay, in their order: of each class its share, at least one.

    A smaller fraction's are among a larger one's of the same seed.
    """
    random = np.random.RandomState(seed)  # whose numbers NumPy promises to keep
    kept = []
    for label in range(classes):
        mine = np.flatnonzero(labels.numpy() == label)
        random.shuffle(mine)
        kept.append(mine[: max(1, round(len(mine) * fraction))])
    return torch.from_numpy(np.sort(np.concatenate(kept)))


def with_classes(splits: Splits, wanted: Sequence[str | int]) -> Splits:
    """The splits with these classes alone, by name or number, which are counted in this order."""
    names = splits.class_names
    places = [_place(name, names) for name in wanted]
    if repeated := [names[place] for place in places if places.count(place) > 1]:
        raise ConfigError(f"dataset.classes names class {repeated[0]!r} twice.")
    if places == list(range(len(names))):
        return splits
    table = torch.full((len(names),), -1)
    table[places] = torch.arange(len(places))
    train, test = (
        (table[part.labels] >= 0).nonzero()[:, 0] for part in (splits.train, splits.test)
    )
    splits = with_training_part(splits, train)
    left_out = tuple(name for place, name in enumerate(names) if place not in places)
    return replace(
        splits,
        train=_relabelled(splits.train, table),
        test=_relabelled(splits.test.subset(test), table),
        class_names=tuple(names[place] for place in places),
        class_table=None if left_out else table,
        left_out=left_out,
    )


def _place(wanted: str | int, names: tuple[str, ...]) -> int:
    """The place of a class that is called so; of a number that no class is called, that place."""
    if str(wanted) in names:
        return names.index(str(wanted))
    if isinstance(wanted, int) and 0 <= wanted < len(names):
        return wanted
    if len(names) <= SHOWN:
        known = did_you_mean(str(wanted), names)
    else:
        known = f" It has {len(names)}: {listed(names, SHOWN)}; or their numbers, from 0."
    raise ConfigError(
        f"dataset.classes names {wanted!r}, but the data set has no such class.{known}"
    )


def _relabelled(images: Images, table: Tensor) -> Images:
    labels = table[images.labels]
    if isinstance(images, DecodedImages):
        return DecodedImages(replace(images.files, labels=labels))
    if isinstance(images, TensorImages | FileImages):
        return replace(images, labels=labels)
    return Relabelled(images, table)
