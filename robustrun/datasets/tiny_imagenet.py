"""Tiny-ImageNet: 200 classes of ImageNet at 64 x 64 (Le and Yang 2015,
http://cs231n.stanford.edu/reports/2015/pdfs/yle_project.pdf).
"""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from robustrun.datasets.augmentation import Border, Policy, augmentation
from robustrun.datasets.class_names import read_words, readable
from robustrun.datasets.decoded import DecodedImages
from robustrun.datasets.files import FileImages
from robustrun.datasets.image_reader import ImageReader
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.datasets.subset import make_splits
from robustrun.datasets.tree import FileList, classes_of, file_list, find_tree, read_split
from robustrun.errors import DataError, require
from robustrun.storage.archives import unpacked
from robustrun.storage.transfer import RemoteFile
from robustrun.types import DATASETS, Splits

FOLDER = "tiny-imagenet-200"
ARCHIVE = RemoteFile(
    f"http://cs231n.stanford.edu/{FOLDER}.zip",
    "md5:90528d7ca1a48142e341f4ef8d21d0de",
    248_100_043,
)
SIZE = 64  # pixels


@DATASETS.register("tiny_imagenet")
@dataclass(frozen=True)
class TinyImageNet:
    """100,000 training images, 500 of each class; the 10,000 of val/ are the test split, since
    those of test/ have no labels. Classes are in the order of their WordNet numbers.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER

    root: str
    download: bool
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
        workers, limit = self.workers, self.memory_limit_gb
        require(workers is None or workers >= 0, "workers", workers, "at least 0, or null")
        require(limit >= 0, "memory_limit_gb", limit, "gigabytes, at least 0")

    def load(self) -> Splits:
        top = Path(self.root).expanduser().absolute()
        if not all((top / part).is_dir() for part in ("train", "val")):  # root is not unpacked
            top = unpacked(ARCHIVE, top / FOLDER, "dataset.root", self.download)
        wnids, train_files, test_files = parts(top)
        reader = ImageReader((3, SIZE, SIZE), None, False, None)
        train = FileImages(*train_files, reader, self.workers, augmentation(self))
        test = FileImages(*test_files, reader, self.workers)
        fits = (len(train) + len(test)) * math.prod(reader.shape) <= self.memory_limit_gb * 1e9
        names = readable(wnids, read_words(top / "words.txt"))
        splits = make_splits(
            DecodedImages(train) if fits else train,
            DecodedImages(test) if fits else test,
            names,
            self,
        )
        return replace(splits, class_folders=dict(zip(names, wnids, strict=True)))


def parts(top: Path) -> tuple[tuple[str, ...], FileList, FileList]:
    """(WordNet numbers, training files, test files), whether val/ is as it was published, with
    its labels in val_annotations.txt, or was sorted into class folders since."""
    if not (top / "val" / "images").is_dir():
        wnids, train_files, test_files = find_tree(str(top), "train", "val")[:3]
        return wnids, train_files, test_files
    trained = read_split(top / "train")
    classes = classes_of(trained)
    return tuple(classes), file_list(trained, classes), annotated(top / "val", classes)


def annotated(folder: Path, classes: list[str]) -> FileList:
    """The images below `folder` that val_annotations.txt lists, which has name, class and a box in
    each line, between tabs; DataError for a class or a file that is not there."""
    path, places = folder / "val_annotations.txt", {name: at for at, name in enumerate(classes)}
    if not path.is_file():
        raise DataError(f"{path} is missing, which says what is in each image of {folder}/images.")
    names, labels = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in places or not (folder / "images" / name).is_file():
            raise DataError(
                f"{path}, line {number}: there is no image {name!r} in {folder}/images, or no "
                f"class {wnid!r} in {folder.parent}/train. Unpack {FOLDER}.zip again."
            )
        names.append(os.fsencode(name))
        labels.append(places[wnid])
    return FileList(folder / "images", np.array(names), torch.tensor(labels))
