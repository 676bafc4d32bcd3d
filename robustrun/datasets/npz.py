"""A .npz file of images and labels, as NumPy, Keras, MedMNIST and EDM write it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from robustrun.datasets.arrays import Part, array_splits, as_text, part_of
from robustrun.datasets.augmentation import Border, Policy
from robustrun.datasets.checks import size
from robustrun.datasets.holdout import check_holdout
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.datasets.stored_arrays import StoredArrays
from robustrun.errors import DataError, listed
from robustrun.types import DATASETS, Splits

log = logging.getLogger(__name__)
IMAGES, LABELS = ("x", "images", "image", "data"), ("y", "labels", "label", "targets", "target")
PARTS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
NAMES = "class_names"  # an array with the name of each label
WHOLE = "all"  # of arrays that no part is named in
EXPECTED = (
    "x_train, y_train, x_test, y_test (Keras), train_images, train_labels, test_images, "
    "test_labels (MedMNIST), or images, labels alone"
)


@DATASETS.register("npz")
@dataclass(frozen=True)
class NPZ:
    """Arrays of one file: `x_train, y_train, x_test, y_test`, `train_images, train_labels, …`, or
    `images, labels` alone, of which a test part is held out.

    Images N x H x W x C, N x C x H x W or N x H x W, 0 to 255 or floats in [0, 1]; labels as whole
    numbers or names, or one-hot. `class_names`, if it is there, names the labels 0, 1, …
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER

    file: str
    test_fraction: float
    test_seed: int
    policy: Policy | None
    crop_padding: int
    crop_border: Border
    flip: bool
    color_jitter: float
    rotation: float
    classes: tuple[str | int, ...] | None
    fraction: float
    fraction_seed: int
    imbalance_ratio: float | None
    imbalance_seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    epsilon: Radii

    def __post_init__(self) -> None:
        check(self)
        check_holdout(self)

    def load(self) -> Splits:
        stored = StoredArrays(Path(self.file).expanduser().absolute(), "dataset.file")
        pairs = paired(stored)
        parts = {name: _part(stored, *names) for name, names in _used(pairs, stored).items()}
        splits = array_splits(
            parts.get("train"), parts.get("test", self), self, _class_names(stored)
        )
        from_val = "val" in pairs and "test" not in pairs
        return replace(splits, test_from="val") if from_val else splits


def _part(stored: StoredArrays, images: str, labels: str) -> Part:
    place = f"dataset.file: {images} and {labels} of {stored.path}"
    return part_of(stored[images], stored[labels], place)


def _class_names(stored: StoredArrays) -> list[str] | None:
    if NAMES not in stored.names:
        return None
    names = as_text(stored[NAMES])
    if names.ndim != 1:
        raise DataError(
            f"dataset.file: {NAMES} of {stored.path} has shape {size(names.shape)}, but must be a "
            f"list of names."
        )
    return [str(name) for name in names]


def paired(stored: StoredArrays) -> dict[str, tuple[str, str]]:
    """The arrays with the images and the labels of each part; DataError if they cannot be told."""
    roles: dict[tuple[str, str], str] = {}
    for name in stored.names:
        if (role := role_of(name)) is None:
            if name != NAMES:
                log.info("the array %r of %s is not used", name, stored.path)
        elif role in roles:
            raise DataError(
                f"dataset.file: {stored.path} has {roles[role]!r} and {name!r}, which mean the "
                f"same. Save one of them alone."
            )
        else:
            roles[role] = name
    found = {part for part, _ in roles}
    for part in sorted(found):
        if len([role for role in roles if role[0] == part]) < 2:
            (alone,) = (name for role, name in roles.items() if role[0] == part)
            raise DataError(
                f"dataset.file: {stored.path} has {alone!r}, but not the labels or images that go "
                f"with it. Expected are {EXPECTED}."
            )
    if not found or (WHOLE in found and len(found) > 1):
        raise DataError(
            f"dataset.file: {stored.path} has {listed(map(repr, stored.names), 8) or 'no array'}. "
            f"Expected are {EXPECTED}."
        )
    return {part: (roles[part, "images"], roles[part, "labels"]) for part in found}


def role_of(name: str) -> tuple[str, str] | None:
    """(part, images or labels) of an array by its name; None if it is something else."""
    if name in ("arr_0", "arr_1"):  # of numpy.savez(FILE, images, labels)
        return WHOLE, "images" if name == "arr_0" else "labels"
    words = name.lower().split("_")
    if len(words) > 2:
        return None
    part = next((PARTS[word] for word in words if word in PARTS), WHOLE)
    others = [word for word in words if word not in PARTS]
    if len(others) != 1 or (part == WHOLE and len(words) > 1):
        return None
    if others[0] in IMAGES:
        return part, "images"
    return (part, "labels") if others[0] in LABELS else None


def _used(pairs: Mapping[str, tuple[str, str]], stored: StoredArrays) -> dict[str, tuple[str, str]]:
    """The arrays to train and to test on: val stands for a test part that is not there."""
    if WHOLE in pairs:
        return {"train": pairs[WHOLE]}
    used = {name: names for name, names in pairs.items() if name != "val"}
    if "val" in pairs and "test" in pairs:
        log.info("%s of %s is not used: the test part is measured", pairs["val"][0], stored.path)
    elif "val" in pairs:
        log.info("%s of %s is taken as the test part", pairs["val"][0], stored.path)
        used["test"] = pairs["val"]
    return used
