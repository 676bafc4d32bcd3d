"""The border: images are checked once, where they come in, and converted where that loses nothing.

Behind it, images are N x C x H x W, float32 in [0, 1] or uint8, labels int64 in 0 .. K - 1.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from robustrun.datasets.augmentation import as_floats
from robustrun.datasets.checks import (
    checked_labels,
    checked_pair,
    checked_pixels,
    kind,
    require_labels,
    size,
)
from robustrun.datasets.decoded import DecodedImages
from robustrun.datasets.files import FileImages
from robustrun.datasets.tensors import TensorImages
from robustrun.datasets.watched import Watched
from robustrun.errors import DataError
from robustrun.types import Images, Splits

log = logging.getLogger(__name__)
DARK = 32  # of 255: no photograph is all below it
NAMED = 20  # classes whose numbers of images are logged one by one
FIRST = 64  # training images that are looked at as they come augmented
NONE = torch.arange(0)
PARTS = ("labels", "shape", "subset", "plain", "to", "batches", "fingerprint")  # of Images


def checked_splits(splits: Splits, to_train: bool = True) -> Splits:
    """The splits of a data set, checked and converted; DataError says what is wrong and where.

    Where nothing is trained (not `to_train`), there may be no training images.
    """
    if not isinstance(splits, Splits):
        raise DataError(f"The data set's load() gives a {kind(splits)}, but must give Splits.")
    names = splits.class_names
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"The data set has several classes of the name {repeated[0]!r}.")
    none = not to_train and _is_empty(splits.train)
    train = None if none else checked(splits.train, "training images")
    test = checked(splits.test, "test images")
    train = test.subset(NONE) if train is None else train
    if train.shape != test.shape:
        raise DataError(
            f"The training images are {size(train.shape)}, but the test images "
            f"{size(test.shape)} (channels x height x width). Both must have one size."
        )
    for images, place in ((train, "training images"), (test, "test images")):
        require_labels(images.labels, len(names), place, "class names")
        log.info("%d %s: %s", len(images), place, _by_class(images.labels, names))
    if len(train):
        _try_training(train)
    if isinstance(test, Watched):
        for _ in test.batches(FIRST):  # now, and not when the training is over
            pass
    return replace(splits, train=train, test=test)


def _is_empty(images: Images) -> bool:
    return hasattr(images, "__len__") and len(images) == 0


def _by_class(labels: Tensor, names: tuple[str, ...]) -> str:
    """How many images each class has, or the fewest and the most where classes are many."""
    counts = torch.bincount(labels, minlength=len(names)).tolist()
    if len(names) <= NAMED:
        pairs = zip(names, counts, strict=True)
        return ", ".join(f"{name}: {count}" for name, count in pairs)
    return f"{min(counts)} to {max(counts)} of each of {len(names)} classes"


def checked(images: Images, place: str) -> Images:
    """The images with pixels and labels as all else expects them, labels' bound apart.

    Images in memory are looked at now, those of a foreign class as they are read. Files need not
    be: decoding gives uint8 of one size. `place` begins the message of a DataError.
    """
    if lacks := [part for part in PARTS if part not in dir(images)]:
        raise DataError(
            f"{place}: a {kind(images)} is no Images, it has no {', '.join(lacks)}. "
            f"robustrun.datasets.tensors.TensorImages(pixels, labels) makes one."
        )
    if len(images) == 0:
        more = " Without them, a data set can be measured (robustrun evaluate)."
        raise DataError(f"{place}: there are none.{more if place == 'training images' else ''}")
    labels = checked_labels(images.labels, len(images), place)
    if type(images) is TensorImages:
        pixels = checked_pixels(images.pixels, place)
        _tell_dark(pixels, place)
        return replace(images, pixels=pixels, labels=labels)
    if type(images) is FileImages:
        return replace(images, labels=labels)
    if type(images) is DecodedImages:
        return replace(images, files=replace(images.files, labels=labels))
    return Watched(images, place, labels)


def _tell_dark(pixels: Tensor, place: str) -> None:
    """Warn of 8-bit pixels that may be levels of another range, such as 0 to 16."""
    if pixels.dtype == torch.uint8 and (most := int(pixels.max())) < DARK:
        log.warning(
            "%s: the largest pixel is %d, and uint8 counts as 0 to 255, so all are nearly black. "
            "If %d is white, give them as floats: x / %d",
            *(place, most, most, most),
        )


def collected(batches: Iterable[Any], place: str) -> TensorImages:
    """All batches (x, y) of a loader, in memory and checked, but for the labels' bound."""
    pairs = [checked_pair(batch, f"{place}, batch {n}") for n, batch in enumerate(batches)]
    if not pairs:
        raise DataError(f"{place}: there are none.")
    for number, (x, _) in enumerate(pairs):
        _require_one_size(x, pairs[0][0], f"{place}, batch {number}")
    one_type = len({x.dtype for x, _ in pairs}) == 1
    xs = [x if one_type else as_floats(checked_pixels(x, place)) for x, _ in pairs]
    ys = [y.cpu() for _, y in pairs]
    labels = checked_labels(torch.cat(ys), sum(map(len, xs)), place)
    return TensorImages(checked_pixels(torch.cat([x.to(xs[0].device) for x in xs]), place), labels)


def _require_one_size(x: Tensor, first: Tensor, place: str) -> None:
    if x.ndim != first.ndim or x.shape[1:] != first.shape[1:]:
        raise DataError(
            f"{place} has shape {size(x.shape)}, but the first has {size(first.shape)}. All "
            f"images must have one size."
        )


def _try_training(train: Images) -> None:
    """Look at the first images as they are trained on: an augmentation may leave [0, 1], too."""
    from_files = isinstance(train, FileImages | DecodedImages)
    if from_files or (isinstance(train, TensorImages) and train.augment is None):
        return
    with torch.random.fork_rng(devices=[]):
        x, _ = next(iter(train.batches(FIRST)))
    checked_pixels(x, "training images, augmented")
