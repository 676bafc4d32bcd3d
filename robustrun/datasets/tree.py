"""Class folders: which files of a tree `SPLIT/CLASS/…` are images, and of which class."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustrun.errors import DataError, listed, shown

log = logging.getLogger(__name__)
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".png", ".apng", ".webp", ".avif"),
    *(".gif", ".bmp", ".tga", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
SHOWN = 5  # names or endings that a message lists


class FileList(NamedTuple):
    """The files of one split, in sorted order."""

    root: Path
    names: np.ndarray  # paths below root, as bytes
    labels: Tensor

    def subset(self, indices: Tensor) -> "FileList":
        return FileList(self.root, self.names[indices.numpy()], self.labels[indices])

    def none(self) -> "FileList":
        """No file of it."""
        return FileList(self.root, self.names[:0], self.labels[:0])


@dataclass(frozen=True)
class Split:
    """One split as it lies on disk."""

    folder: Path
    images: dict[str, list[str]]  # class folder -> paths below it, sorted
    others: dict[str, int]  # class folder -> files that are no images, hidden ones apart
    ignored: Counter[str]  # ending or reason -> files

    def is_bare(self, name: str) -> bool:
        """Whether nothing of a class lies here, be its folder there or not."""
        return not self.images.get(name) and not self.others.get(name)


class Tree(NamedTuple):
    """The images of a data set."""

    class_names: tuple[str, ...]
    train: FileList  # empty: the data set can be measured alone
    test: FileList
    test_from: str | None = None  # where the test images come from, unless they are a part so named


def find_tree(root: str, train: str, test: str) -> Tree:
    """The images of a tree with these two folders; DataError if it is not as it should be.

    All files below a class folder count, in sub-folders too. A class without any file in either
    split is left out. What is ignored is logged. A tree without its training folder has no
    training files: it can be measured.
    """
    top = Path(root).expanduser().absolute()
    for folder in (top, top / test):
        if not folder.is_dir():
            raise DataError(
                f"{folder} is not a folder. dataset.root is {root!r}; below it, images are "
                f"expected as {train}/CLASS/IMAGE and {test}/CLASS/IMAGE, with one folder per "
                f"class. Set dataset.root to the folder that holds {train}/ and {test}/."
            )
    return read_tree(top / train, top / test)


def read_tree(train: Path, test: Path) -> Tree:
    """The images of two folders of class folders, of which that to train on may be missing."""
    if not train.exists():
        log.warning("there is no folder %s: the data set has no training images", train)
        names, files = read_class_folders(test)
        return Tree(names, files.none(), files)
    trained, tested = read_split(train), read_split(test)
    classes = common_classes(trained, tested)
    for split in (trained, tested):
        tell_ignored(split)
    return Tree(as_shown(classes), file_list(trained, classes), file_list(tested, classes))


def read_class_folders(folder: Path) -> tuple[tuple[str, ...], FileList]:
    """(class names, files) of one folder of class folders."""
    split = read_split(folder)
    classes = classes_of(split)
    tell_ignored(split)
    return as_shown(classes), file_list(split, classes)


def as_shown(classes: list[str]) -> tuple[str, ...]:
    return tuple(shown(name) for name in classes)


def classes_of(test: Split) -> list[str]:
    """The classes where only one split is there, sorted."""
    classes = [name for name in sorted(test.images) if not test.is_bare(name)]
    require_two(classes, test.folder)
    require_images(test, classes)
    tell_left_out(name for name in test.images if name not in classes)
    return classes


def read_split(folder: Path) -> Split:
    split = Split(folder, {}, {}, Counter())
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                split.ignored["beside the class folders"] += 1
                continue
            ignored = Counter[str]()
            split.images[entry.name] = sorted(images_below(entry.path, ignored))
            split.others[entry.name] = ignored.total() - ignored["hidden"]
            split.ignored.update(ignored)
    return split


def images_below(
    folder: str, ignored: Counter[str], below: str = "", above: tuple[tuple[int, int], ...] = ()
) -> Iterator[str]:
    """The paths below `folder` of all images in it and its sub-folders; other files are counted.

    A link that leads back to a folder `above` is not followed.
    """
    stat = os.stat(folder)
    here = (stat.st_dev, stat.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                ignored["hidden"] += 1
            elif name.lower().endswith(EXTENSIONS):
                yield below + name
            elif entry.is_dir():
                yield from images_below(entry.path, ignored, f"{below}{name}/", (*above, here))
            else:
                ignored[os.path.splitext(name)[1].lower() or "without an ending"] += 1


def common_classes(train: Split, test: Split) -> list[str]:
    """The classes of both splits, sorted; DataError unless they have the same."""
    names = sorted({*train.images, *test.images})
    left_out = [name for name in names if train.is_bare(name) and test.is_bare(name)]
    classes = [name for name in names if name not in set(left_out)]
    for split in (train, test):
        require_two([name for name in classes if name in split.images], split.folder)
    require_same(train, test, classes)
    require_images(train, classes)
    require_images(test, classes)
    tell_left_out(left_out)
    return classes


def tell_left_out(names: Iterable[str]) -> None:
    if left_out := sorted(names):
        log.warning("class folders without any file are left out: %s", quoted(left_out))


def require_two(names: list[str], folder: Path) -> None:
    if len(names) < 2:
        present = f"only {quoted(names)}" if names else "none"
        raise DataError(
            f"{folder} needs at least two class folders, with images inside, but has {present}."
        )


def require_same(train: Split, test: Split, classes: list[str]) -> None:
    """DataError unless both splits have a folder for each class."""
    for here, other in ((test, train), (train, test)):
        if extra := [name for name in classes if name not in other.images]:
            raise DataError(
                f"{here.folder} has {len(extra)} class folder{'s' if len(extra) > 1 else ''} that "
                f"{other.folder} lacks: {quoted(extra)}. Both must have the same classes."
            )


def require_images(split: Split, classes: list[str]) -> None:
    for name in classes:
        if not split.images[name]:
            raise DataError(
                f"{split.folder}/{shown(name)} has no images (files that end in "
                f"{', '.join(EXTENSIONS)}). Put this class's images there, or remove the class "
                f"from both splits."
            )


def tell_ignored(split: Split) -> None:
    if count := split.ignored.total():
        kinds = split.ignored.most_common()
        text = ", ".join(f"{number} {shown(kind)}" for kind, number in kinds[:SHOWN])
        more = f", {sum(n for _, n in kinds[SHOWN:])} others" if len(kinds) > SHOWN else ""
        noun = "file" if count == 1 else "files"
        log.info("%d %s ignored below %s: %s%s", count, noun, split.folder, text, more)


def file_list(split: Split, classes: list[str]) -> FileList:
    """The files by class and then by name."""
    files = [os.fsencode(f"{name}/{file}") for name in classes for file in split.images[name]]
    counts = torch.tensor([len(split.images[name]) for name in classes])
    labels = torch.arange(len(classes)).repeat_interleave(counts)
    return FileList(split.folder, np.array(files), labels)


def quoted(names: list[str]) -> str:
    return listed((f"'{shown(name)}'" for name in names), SHOWN)
