"""The border: images are checked once, where they come in, and converted where that loses nothing.

Behind it, images are N x C x H x W, float32 in [0, 1] or uint8, labels int64 in 0 .. K - 1.
"""

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustrun.datasets.augmentation import as_floats
from robustrun.datasets.decoded import DecodedImages
from robustrun.datasets.files import FileImages
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError
from robustrun.types import Images, Shape, Splits

log = logging.getLogger(__name__)
NAMED = 20  # classes whose numbers of images are logged one by one
AT_ONCE = 1000  # images that are looked at together
FIRST = 64  # training images that are looked at as they come augmented
NEARLY_ONE = 1.001
NONE = torch.arange(0)
PARTS = ("labels", "shape", "subset", "plain", "to", "batches", "fingerprint")  # of Images
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def checked_splits(splits: Splits, to_train: bool = True) -> Splits:
    """The splits of a data set, checked and converted; DataError says what is wrong and where.

    Where nothing is trained (not `to_train`), there may be no training images.
    """
    if not isinstance(splits, Splits):
        raise DataError(f"The data set's load() gives a {_kind(splits)}, but must give Splits.")
    names = splits.class_names
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"The data set has several classes of the name {repeated[0]!r}.")
    none = not to_train and _is_empty(splits.train)
    train = None if none else checked(splits.train, "training images")
    test = checked(splits.test, "test images")
    train = test.subset(NONE) if train is None else train
    if train.shape != test.shape:
        raise DataError(
            f"The training images are {_size(train.shape)}, but the test images "
            f"{_size(test.shape)} (channels x height x width). Both must have one size."
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
            f"{place}: a {_kind(images)} is no Images, it has no {', '.join(lacks)}. "
            f"robustrun.datasets.tensors.TensorImages(pixels, labels) makes one."
        )
    if len(images) == 0:
        more = " Without them, a data set can be measured (robustrun evaluate)."
        raise DataError(f"{place}: there are none.{more if place == 'training images' else ''}")
    labels = _labels(images.labels, len(images), place)
    if type(images) is TensorImages:
        return replace(images, pixels=_pixels(images.pixels, place), labels=labels)
    if type(images) is FileImages:
        return replace(images, labels=labels)
    if type(images) is DecodedImages:
        return replace(images, files=replace(images.files, labels=labels))
    return Watched(images, place, labels)


def collected(batches: Iterable[Any], place: str) -> TensorImages:
    """All batches (x, y) of a loader, in memory and checked, but for the labels' bound."""
    pairs = [_pair(batch, f"{place}, batch {n}") for n, batch in enumerate(batches)]
    if not pairs:
        raise DataError(f"{place}: there are none.")
    for number, (x, _) in enumerate(pairs):
        _require_one_size(x, pairs[0][0], f"{place}, batch {number}")
    one_type = len({x.dtype for x, _ in pairs}) == 1
    xs = [x if one_type else as_floats(_pixels(x, place)) for x, _ in pairs]
    ys = [y.cpu() for _, y in pairs]
    labels = _labels(torch.cat(ys), sum(map(len, xs)), place)
    return TensorImages(_pixels(torch.cat([x.to(xs[0].device) for x in xs]), place), labels)


def require_labels(labels: Tensor, classes: int, place: str, counted: str) -> None:
    """DataError unless all labels are in 0 .. classes - 1; `counted` are what `classes` counts."""
    if classes < 2:
        raise DataError(f"{place}: at least 2 classes are needed; {counted}: {classes}.")
    wrong = ((labels < 0) | (labels >= classes)).nonzero()[:, 0]
    if len(wrong) == 0:
        return
    value, first = int(labels[wrong[0]]), int(wrong[0])
    hint = ""
    if int(labels.min()) == 1 and int(labels.max()) == classes:
        hint = " They seem to begin at 1: subtract 1."
    elif value == -1:
        hint = " Some data sets mark images without a label so: leave these out."
    raise DataError(
        f"{place}: image {first} has label {value} (one of {len(wrong)}), but with {classes} "
        f"{counted} labels are whole numbers from 0 to {classes - 1}.{hint}"
    )


@dataclass(frozen=True, eq=False)
class Watched:
    """Images of a foreign class: each batch is checked as it comes, and converted."""

    images: Images
    place: str
    labels: Tensor  # int64 of shape N, on the CPU

    @property
    def shape(self) -> Shape:
        channels, height, width = self.images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "Watched":
        labels = self.labels[indices.cpu()]
        return replace(self, images=self.images.subset(indices), labels=labels)

    def plain(self) -> "Watched":
        return replace(self, images=self.images.plain())

    def to(self, device: torch.device) -> "Watched":
        return replace(self, images=self.images.to(device))

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        device: torch.device | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        due = self.labels if order is None else self.labels[order.cpu()]
        done = skip * batch_size
        for batch in self.images.batches(batch_size, order, device, skip):
            x, y = _pair(batch, self.place)
            expected = due[done : done + batch_size]
            _require(x, y, expected, self.shape, f"{self.place}, from number {done} of a pass on")
            yield as_floats(_pixels(x, self.place)), expected.to(x.device)
            done += len(x)
        if done < len(due):
            raise DataError(f"{self.place}: batches() ends after {done} of {len(due)} images.")

    def fingerprint(self) -> str:
        return self.images.fingerprint()


def _require(x: Tensor, y: Tensor, expected: Tensor, shape: Shape, place: str) -> None:
    """DataError unless a batch has the images and labels that are due."""
    if x.shape != (len(expected), *shape):
        raise DataError(
            f"{place}: a batch has shape {_size(x.shape)}, but {len(expected)} x {_size(shape)} "
            f"was due (the batch size, or what is left, and the images' `shape`)."
        )
    if not torch.equal(y.cpu().long(), expected):
        raise DataError(f"{place}: the labels of batches() are not those of `labels`.")


def _try_training(train: Images) -> None:
    """Look at the first images as they are trained on: an augmentation may leave [0, 1], too."""
    from_files = isinstance(train, FileImages | DecodedImages)
    if from_files or (isinstance(train, TensorImages) and train.augment is None):
        return
    with torch.random.fork_rng(devices=[]):
        x, _ = next(iter(train.batches(FIRST)))
    _pixels(x, "training images, augmented")


def _pair(batch: Any, place: str) -> tuple[Tensor, Tensor]:
    """A batch's images and labels, as tensors."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(f"{place} is a {_kind(batch)}, but must be a pair (images, labels).")
    x, y = (_tensor(part) for part in batch)
    for part, name in ((x, "images"), (y, "labels")):
        if not isinstance(part, Tensor):
            raise DataError(f"{place}: the {name} are a {_kind(part)}, but must be a tensor.")
    return x, y


def _tensor(part: Any) -> Any:
    """An array as a tensor, if it can be one."""
    is_numeric = isinstance(part, np.ndarray) and part.dtype.kind in "biuf"
    return torch.tensor(part) if is_numeric else part


def _require_one_size(x: Tensor, first: Tensor, place: str) -> None:
    if x.ndim != first.ndim or x.shape[1:] != first.shape[1:]:
        raise DataError(
            f"{place} has shape {_size(x.shape)}, but the first has {_size(first.shape)}. All "
            f"images must have one size."
        )


def _pixels(pixels: Tensor, place: str) -> Tensor:
    """The pixels N x C x H x W, float32 in [0, 1] or uint8."""
    pixels = pixels.detach()
    _require_layout(pixels, place)
    if pixels.dtype == torch.uint8:
        if int(pixels.max()) == 1:
            raise DataError(
                f"{place}: the pixels are uint8, which counts as 0 to 255, but the largest is 1. "
                f"If they are 0 or 1, give them as floats: x.float()."
            )
        return pixels
    if pixels.dtype not in FLOATS:
        raise DataError(
            f"{place}: the pixels are {_name(pixels.dtype)}, but must be floats in [0, 1], or "
            f"uint8 from 0 to 255."
        )
    for first in range(0, len(pixels), AT_ONCE):
        _require_range(pixels[first : first + AT_ONCE], pixels, first, place)
    return pixels.float()


def _require_layout(pixels: Tensor, place: str) -> None:
    shape = tuple(pixels.shape)
    hint = ""
    if len(shape) == 4 and shape[3] == 3 and shape[1] == shape[2] > 4:
        hint = " The channels seem to come last: x.permute(0, 3, 1, 2)."
    elif len(shape) == 3:
        hint = " For grey images, add the channel: x[:, None]."
    elif len(shape) == 4 and 0 not in shape:
        return
    raise DataError(
        f"{place} have shape {_size(shape)}, but must be N x C x H x W: number, channels, height, "
        f"width.{hint}"
    )


def _require_range(part: Tensor, pixels: Tensor, first: int, place: str) -> None:
    """DataError, with the range of all `pixels`, unless those of `part` are in [0, 1]."""
    least, most = (float(value) for value in part.aminmax())
    if least >= 0 and most <= 1:  # false for NaN
        return
    inside = (part >= 0) & (part <= 1)
    wrong = int((~inside).flatten(1).any(dim=1).nonzero()[0])
    value = float(part[wrong][~inside[wrong]][0])
    finite = pixels[pixels.isfinite()].double()
    least, most = (finite.min().item(), finite.max().item()) if len(finite) else (0.0, 0.0)
    raise DataError(
        f"{place}: image {first + wrong} has a pixel of {value:g}, but pixels must be in [0, 1]; "
        f"here they go from {least:g} to {most:g}. {_advice(value, least, most)}"
    )


def _advice(value: float, least: float, most: float) -> str:
    """What brings pixels from `least` to `most`, of which `value` is one, to [0, 1]."""
    if not math.isfinite(value):
        return "Leave such images out, or mend what made them."
    if least < 0:
        scale = "(x + 1) / 2 undoes that. " if least >= -1 and most <= 1 else ""
        return f"Do not normalise them: {scale}The network does, as its first layer."
    if most <= NEARLY_ONE:
        return "That is rounding: x.clamp(0, 1)."
    return "Divide by 255, or give them as uint8, if they are 0 to 255."


def _labels(labels: Any, count: int, place: str) -> Tensor:
    """The labels as int64 of shape N on the CPU, whatever their bound."""
    if not isinstance(labels, Tensor):
        raise DataError(f"{place}: the labels are a {_kind(labels)}, but must be a tensor.")
    if labels.is_floating_point() or labels.is_complex():
        raise DataError(
            f"{place}: the labels are {_name(labels.dtype)}, but must be whole numbers: int64."
        )
    if labels.shape != (count,):
        one_hot = " If they are one-hot, y.argmax(1) gives them." if labels.ndim == 2 else ""
        raise DataError(
            f"{place}: the labels have shape {_size(labels.shape)}, but there are {count} images: "
            f"one number each is due.{one_hot}"
        )
    return labels.detach().cpu().long()


def _kind(value: Any) -> str:
    return type(value).__name__


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "of one number"
