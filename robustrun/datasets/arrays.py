"""Arrays as people save them, as the images and labels of a data set.

Pixels N x H x W x C, N x C x H x W or N x H x W, 0 to 255 or floats in [0, 1]; labels as whole
numbers or names, of shape N or N x 1, or one-hot.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from robustrun.datasets.augmentation import AugmentSettings, augmentation
from robustrun.datasets.checks import SHOWN, checked_pixels, require_learnt, size
from robustrun.datasets.holdout import HoldoutSettings, hold_out
from robustrun.datasets.settings import Settings
from robustrun.datasets.subset import make_splits
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError, listed
from robustrun.types import Splits

log = logging.getLogger(__name__)
CHANNELS = (1, 3)


class ArraySettings(Settings, AugmentSettings, Protocol):
    """The keys of a data set of arrays."""


class Part(NamedTuple):
    """A part of a data set."""

    pixels: Tensor  # N x C x H x W, uint8 or float32 in [0, 1]
    labels: np.ndarray  # of shape N: whole numbers or names
    place: str  # what messages call it


def part_of(images: np.ndarray, labels: np.ndarray, place: str) -> Part:
    """Images and their labels; DataError, which begins with `place`, if they are not such."""
    pixels = pixels_of(images, place)
    return Part(pixels, labels_of(labels, len(pixels), place), place)


def pixels_of(array: np.ndarray, place: str) -> Tensor:
    """The pixels N x C x H x W, uint8 or float32 in [0, 1]."""
    if array.dtype.kind not in "uif":
        raise DataError(
            f"{place}: the images are of type {array.dtype}, but must be whole numbers from 0 to "
            f"255 or floats in [0, 1]."
        )
    if not array.size:
        raise DataError(f"{place}: there are no images.")
    array = _in_order(array, place)
    if array.dtype.kind != "f" and array.dtype != np.uint8:
        least, most = int(array.min()), int(array.max())
        if least < 0 or most > 255:
            raise DataError(
                f"{place}: the pixels are {array.dtype} from {least} to {most}, but whole numbers "
                f"must be from 0 to 255. Divide by the largest that can be: floats in [0, 1]."
            )
        array = array.astype(np.uint8)
    kind = np.dtype(np.float64) if array.dtype.itemsize > 8 else array.dtype  # longdouble
    native = array.astype(kind.newbyteorder("="), copy=False)
    return checked_pixels(torch.from_numpy(native), place).contiguous()


def _in_order(array: np.ndarray, place: str) -> np.ndarray:
    """The array as N x C x H x W."""
    if array.ndim == 3:
        return array[:, None]
    if array.ndim != 4:
        raise DataError(
            f"{place}: the images have shape {size(array.shape)}, but must be N x H x W x C, "
            f"N x C x H x W, or N x H x W (grey)."
        )
    first, last = array.shape[1] in CHANNELS, array.shape[3] in CHANNELS
    if first and last and array.shape[1:] != (1, 1, 1):
        raise DataError(
            f"{place}: the images have shape {size(array.shape)}: whether their channels come "
            f"first or last cannot be seen. Save grey images as N x H x W."
        )
    if not first and not last:
        alpha = " Four are with transparency: leave the fourth out." if 4 in array.shape[1:] else ""
        raise DataError(
            f"{place}: the images have shape {size(array.shape)}, but must have 1 or 3 channels, "
            f"first or last.{alpha}"
        )
    return array if first else array.transpose(0, 3, 1, 2)


def labels_of(array: np.ndarray, count: int, place: str) -> np.ndarray:
    """One label an image: whole numbers from 0, or names."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and len(array) == count:
        array = _from_one_hot(array, place)
    if array.shape != (count,):
        raise DataError(
            f"{place}: the labels have shape {size(array.shape)}, but there are {count} images: "
            f"one label each is due."
        )
    array = as_text(array)
    if array.dtype.kind not in "uiU":
        raise DataError(
            f"{place}: the labels are of type {array.dtype}, but must be whole numbers or names."
        )
    if array.dtype.kind == "i" and (array < 0).any():
        raise DataError(
            f"{place}: a label is {int(array.min())}, but they are whole numbers from 0. Leave "
            f"images without a label out."
        )
    return np.array(array, dtype=None if array.dtype.kind == "U" else np.int64)


def as_text(array: np.ndarray) -> np.ndarray:
    """An array of bytes as texts; any other as it is."""
    return np.char.decode(array, "utf-8", "backslashreplace") if array.dtype.kind == "S" else array


def _from_one_hot(array: np.ndarray, place: str) -> np.ndarray:
    """The place of the only 1 in each row."""
    plain = array.dtype.kind in "buif" and ((array == 0) | (array == 1)).all()
    if not plain or not (array.sum(axis=1) == 1).all():
        raise DataError(
            f"{place}: the labels have shape {size(array.shape)} and are not one-hot (one 1 in "
            f"each row, else 0). Images with several labels cannot be classified by one."
        )
    places: np.ndarray = array.argmax(axis=1)
    return places


def array_splits(
    train: Part | None,
    test: Part | HoldoutSettings,
    settings: ArraySettings,
    names: Sequence[str] | None = None,
) -> Splits:
    """The splits of two parts. `test` may also say how one is held out of the training part;
    without a training part, the data set can be measured alone. `names` are those of labels 0, 1,
    …; classes of which there is no image are left out. DataError if a class cannot be learnt."""
    parts = [part for part in (train, test) if isinstance(part, Part)]
    if len({part.labels.dtype.kind for part in parts}) > 1:
        raise DataError(
            f"The labels are names in one part and whole numbers in the other: {parts[0].place}, "
            f"and {parts[1].place}."
        )
    values = np.unique(np.concatenate([part.labels for part in parts]))
    class_names = _named(values, names, parts)
    pixels = [part.pixels for part in parts]
    labels = [torch.from_numpy(np.searchsorted(values, part.labels)) for part in parts]
    test_from = None
    if not isinstance(test, Part):
        held_out = hold_out(labels[0], class_names, test, parts[0].place)
        cuts = (held_out.train, held_out.test)
        pixels, test_from = [pixels[0][cut] for cut in cuts], held_out.told
        labels = [labels[0][cut] for cut in cuts]
    elif train is None:
        log.warning("%s is a test part alone: there are no training images", test.place)
        pixels, labels = [pixels[0][:0], pixels[0]], [labels[0][:0], labels[0]]
    else:
        require_learnt(labels, class_names, train.place, test.place)
    images = TensorImages(pixels[0], labels[0], augmentation(settings))
    splits = make_splits(images, TensorImages(pixels[1], labels[1]), class_names, settings)
    return replace(splits, test_from=test_from)


def _named(
    values: np.ndarray, names: Sequence[str] | None, parts: Sequence[Part]
) -> tuple[str, ...]:
    """The names of the labels that there are."""
    if names is None or values.dtype.kind == "U":
        return tuple(map(str, values))
    if int(values[-1]) >= len(names):
        raise DataError(
            f"{parts[0].place}: a label is {values[-1]}, but there are {len(names)} class names."
        )
    left_out = [name for place, name in enumerate(names) if place not in set(values.tolist())]
    if left_out:
        log.info("classes without images are left out: %s", listed(left_out, SHOWN))
    return tuple(str(names[value]) for value in values)
