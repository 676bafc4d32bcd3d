"""Images in class folders: any tree `train/CLASS/*`, `test/CLASS/*`, and ImageNet's."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustrun.datasets.augmentation import Border, Policy, augmentation
from robustrun.datasets.files import FileImages, Reading, channels_of, decode_all, open_image
from robustrun.datasets.longtail import make_splits
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.errors import DataError, require
from robustrun.types import DATASETS, Shape, Splits

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
MOST_WORKERS = 8  # more seldom help, and each takes memory


class Listing(NamedTuple):
    """The files of one split, in sorted order."""

    root: Path
    names: np.ndarray  # paths below root, as bytes
    labels: Tensor


@DATASETS.register("image_folder")
@dataclass(frozen=True)
class ImageFolder:
    """`root/train/CLASS/*` and `root/test/CLASS/*`; classes in alphabetical order.

    Decoded once if it fits into `memory_limit_gb`, else read while training. Both ways give the
    same batches.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER

    root: str
    image_size: int | None
    channels: int | None
    memory_limit_gb: float
    workers: int | None
    policy: Policy | None
    crop_padding: int
    crop_border: Border
    flip: bool
    color_jitter: float
    rotation: float
    imbalance_ratio: float | None
    imbalance_seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    epsilon: Radii

    def __post_init__(self) -> None:
        check(self)
        size, channels, workers = self.image_size, self.channels, self.workers
        require(size is None or size >= 1, "image_size", size, "pixels, at least 1, or null")
        require(channels in (1, 3, None), "channels", channels, "1, 3 or null")
        require(workers is None or workers >= 0, "workers", workers, "at least 0, or null")
        limit = self.memory_limit_gb
        require(limit >= 0, "memory_limit_gb", limit, "gigabytes, at least 0")

    def load(self) -> Splits:
        class_names, train_files, test_files = find_tree(self.root, "train", "test")
        shape = self._shape(train_files.root / os.fsdecode(train_files.names[0]))
        reading = Reading(shape, self.image_size, to_grey=self.channels == 1)
        augment, workers = augmentation(self), worker_count(self.workers)
        train = FileImages(*train_files, reading, workers, augment)
        test = FileImages(*test_files, reading, workers)
        fits = (len(train) + len(test)) * math.prod(shape) <= self.memory_limit_gb * 1e9
        return make_splits(
            decode_all(train) if fits else train,
            decode_all(test) if fits else test,
            class_names,
            self.imbalance_ratio,
            self.imbalance_seed,
        )

    def _shape(self, first: Path) -> Shape:
        image = open_image(first)
        height, width = (self.image_size or image.height), (self.image_size or image.width)
        return self.channels or channels_of(image.mode), height, width


@DATASETS.register("imagenet")
@dataclass(frozen=True)
class ImageNet:
    """`root/train/WNID/*` and `root/val/WNID/*`; the validation part is the test split.

    Read while training: random resized crops to train on, and for all else the centre of the
    image with its shorter side scaled to `resize` pixels.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER

    root: str
    image_size: int
    resize: int
    workers: int | None
    policy: Policy | None
    crop_padding: int
    crop_border: Border
    flip: bool
    color_jitter: float
    rotation: float
    imbalance_ratio: float | None
    imbalance_seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    epsilon: Radii

    def __post_init__(self) -> None:
        check(self)
        size, resize, workers = self.image_size, self.resize, self.workers
        require(size >= 1, "image_size", size, "pixels, at least 1")
        require(resize >= size, "resize", resize, f"at least image_size, which is {size}")
        require(workers is None or workers >= 0, "workers", workers, "at least 0, or null")

    def load(self) -> Splits:
        class_names, train_files, test_files = find_tree(self.root, "train", "val")
        whole = Reading((3, self.image_size, self.image_size), self.resize, to_grey=False)
        augment, workers = augmentation(self), worker_count(self.workers)
        train = FileImages(*train_files, replace(whole, random_crop=True), workers, augment)
        test = FileImages(*test_files, whole, workers)
        return make_splits(train, test, class_names, self.imbalance_ratio, self.imbalance_seed)


def worker_count(wanted: int | None) -> int:
    """As many as wanted; null: one a core, within reason."""
    if wanted is not None:
        return wanted
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(available or 1, MOST_WORKERS)


def find_tree(root: str, train: str, test: str) -> tuple[tuple[str, ...], Listing, Listing]:
    """(class names, training files, test files); DataError if the tree is not as it should be."""
    top = Path(root).expanduser().absolute()
    for folder in (top, top / train, top / test):
        if not folder.is_dir():
            raise DataError(
                f"{folder} is not a folder. dataset.root is {root!r}; below it, images are "
                f"expected as {train}/CLASS/IMAGE and {test}/CLASS/IMAGE, with one folder per "
                f"class. Set dataset.root to the folder that holds {train}/ and {test}/."
            )
    classes = class_folders(top / train)
    check_same_classes(top / train, classes, top / test, class_folders(top / test))
    return tuple(classes), list_images(top / train, classes), list_images(top / test, classes)


def class_folders(split: Path) -> list[str]:
    """The names of a split's class folders, sorted; hidden ones do not count."""
    with os.scandir(split) as entries:
        names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    if len(names) < 2:
        found = f"only {names[0]!r}" if names else "none"
        raise DataError(
            f"{split} needs at least two class folders, with images inside, but has {found}."
        )
    return names


def check_same_classes(train: Path, trained: list[str], test: Path, tested: list[str]) -> None:
    """Raise DataError unless both splits have the same classes."""
    for here, has, there, lacks in ((test, tested, train, trained), (train, trained, test, tested)):
        extra = [name for name in has if name not in set(lacks)]
        if extra:
            shown = ", ".join(repr(name) for name in extra[:5]) + (" …" if len(extra) > 5 else "")
            raise DataError(
                f"{here} has {len(extra)} class folder{'s' if len(extra) > 1 else ''} that {there} "
                f"lacks: {shown}. Both must have the same classes."
            )


def list_images(split: Path, classes: list[str]) -> Listing:
    """A split's files, by class and then by name."""
    names: list[bytes] = []
    counts = []
    for name in classes:
        with os.scandir(split / name) as entries:
            found = sorted(e.name for e in entries if is_image(e.name))
        if not found:
            raise DataError(
                f"{split / name} has no images (files that end in {', '.join(EXTENSIONS)}). Put "
                f"this class's images there, or remove the folder."
            )
        names.extend(os.fsencode(f"{name}/{file}") for file in found)
        counts.append(len(found))
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor(counts))
    return Listing(split, np.array(names), labels)


def is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")
