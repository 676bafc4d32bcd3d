"""Images in class folders: any tree `train/CLASS/*`, `test/CLASS/*`, and ImageNet's."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from robustrun.datasets.augmentation import Border, Policy, augmentation
from robustrun.datasets.decoded import DecodedImages
from robustrun.datasets.files import FileImages
from robustrun.datasets.holdout import check_holdout
from robustrun.datasets.image_reader import ImageReader
from robustrun.datasets.layout import image_tree
from robustrun.datasets.listing import listed_tree
from robustrun.datasets.pictures import Colour, channels_of, open_image
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.datasets.subset import make_splits
from robustrun.datasets.tree import find_tree
from robustrun.errors import require
from robustrun.types import DATASETS, Shape, Splits


@DATASETS.register("image_folder")
@dataclass(frozen=True)
class ImageFolder:
    """`root/train/CLASS/` and `root/test/CLASS/`, sub-folders too; classes in alphabetical order.

    Without test/, val/ is the test part; of train/ alone, or of `root/CLASS/`, a part is held out.
    Or the images that the file `labels` lists, with columns path, label and, if wanted, split.

    An image is turned upright as its EXIF says, transparency shows `background`, and of several
    frames the first counts.

    If it fits into `memory_limit_gb`, what a run uses of it is decoded once, else it is read while
    training. Both ways give the same batches.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER | {
        "background": None,
        "labels": None,
        "test_fraction": 0.2,
        "test_seed": 0,
    }

    root: str
    labels: str | None
    test_fraction: float
    test_seed: int
    image_size: int | None
    channels: int | None
    background: tuple[float, ...] | None
    memory_limit_gb: float
    workers: int | None
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
        check_background(self.background)
        size, channels, workers = self.image_size, self.channels, self.workers
        require(size is None or size >= 1, "image_size", size, "pixels, at least 1, or null")
        require(channels in (1, 3, None), "channels", channels, "1, 3 or null")
        require(workers is None or workers >= 0, "workers", workers, "at least 0, or null")
        limit = self.memory_limit_gb
        require(limit >= 0, "memory_limit_gb", limit, "gigabytes, at least 0")

    def load(self) -> Splits:
        if self.labels is None:
            tree = image_tree(self.root, self)
        else:
            tree = listed_tree(self.labels, self.root, self)
        first = tree.train if len(tree.train.names) else tree.test
        shape = self._shape(first.root / os.fsdecode(first.names[0]))
        reader = ImageReader(shape, self.image_size, self.channels == 1, colour(self.background))
        augment = augmentation(self)
        train = FileImages(*tree.train, reader, self.workers, augment)
        test = FileImages(*tree.test, reader, self.workers)
        fits = (len(train) + len(test)) * math.prod(shape) <= self.memory_limit_gb * 1e9
        splits = make_splits(
            DecodedImages(train) if fits else train,
            DecodedImages(test) if fits else test,
            tree.class_names,
            self,
        )
        return replace(splits, test_from=tree.test_from)

    def _shape(self, first: Path) -> Shape:
        image, _ = open_image(first)
        height, width = (self.image_size or image.height), (self.image_size or image.width)
        return self.channels or channels_of(image.mode), height, width


@DATASETS.register("imagenet")
@dataclass(frozen=True)
class ImageNet:
    """`root/train/WNID/` and `root/val/WNID/`; the validation part is the test split.

    Read while training: random resized crops to train on, and for all else the centre of the
    image with its shorter side scaled to `resize` pixels.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER | {"background": None}

    root: str
    image_size: int
    resize: int
    background: tuple[float, ...] | None
    workers: int | None
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
        check_background(self.background)
        size, resize, workers = self.image_size, self.resize, self.workers
        require(size >= 1, "image_size", size, "pixels, at least 1")
        require(resize >= size, "resize", resize, f"at least image_size, which is {size}")
        require(workers is None or workers >= 0, "workers", workers, "at least 0, or null")

    def load(self) -> Splits:
        class_names, train_files, test_files, _ = find_tree(self.root, "train", "val")
        whole = ImageReader(
            (3, self.image_size, self.image_size), self.resize, False, colour(self.background)
        )
        augment = augmentation(self)
        train = FileImages(*train_files, replace(whole, random_crop=True), self.workers, augment)
        test = FileImages(*test_files, whole, self.workers)
        return make_splits(train, test, class_names, self)


def colour(background: tuple[float, ...] | None) -> Colour | None:
    """Red, green and blue, 0 to 255."""
    if background is None:
        return None
    red, green, blue = (background * 3)[:3]
    return round(red * 255), round(green * 255), round(blue * 255)


def check_background(background: tuple[float, ...] | None) -> None:
    right = background is None or (
        len(background) in (1, 3) and all(0 <= value <= 1 for value in background)
    )
    allowed = "one number in [0, 1], three (red, green, blue), or null"
    require(right, "background", background and list(background), allowed)
