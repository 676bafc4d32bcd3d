"""ImageNet-C and Tiny-ImageNet-C: folders CORRUPTION/SEVERITY/CLASS of images (Hendrycks &
Dietterich 2019, https://arxiv.org/abs/1903.12261).
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from robustrun.datasets.corruptions import CorruptedImages, check_names, check_severities
from robustrun.datasets.files import FileImages
from robustrun.datasets.image_reader import ImageReader
from robustrun.datasets.tree import FileList, images_below, quoted
from robustrun.errors import DataError
from robustrun.types import Shape

log = logging.getLogger(__name__)


def holds_folders(root: Path, names: Sequence[str]) -> bool:
    """Whether a corruption of these names lies there as a folder, and not as an array."""
    return any(place.is_dir() for name in names for place in _candidates(root, name))


def _candidates(root: Path, name: str) -> list[Path]:
    """Where the folder of a corruption may be: it may lie in one of its kind (noise/, blur/ …)."""
    return [root / name, *sorted(root.glob(f"*/{name}"))]


def corrupted_folders(
    root: Path,
    corruptions: Sequence[str],
    severities: Sequence[int],
    classes: Sequence[str],
    shape: Shape,
    examples: int | None = None,
) -> Iterator[CorruptedImages]:
    """The images below `root`, by corruption, then severity; DataError names what is wrong, before
    the first image is read. Their labels are places in `classes`, which are folders' names; other
    folders are not read. An image is scaled to `shape` if it is larger or smaller.

    `examples`: so many of each severity, evenly spaced over the classes.
    """
    check_names(corruptions)
    check_severities(severities)
    places = [
        (name, severity, _folder(root, name) / str(severity))
        for name in corruptions
        for severity in severities
    ]
    for _, _, place in places:
        _require_classes(place, classes)
    _tell_others(places[0][2], classes)
    reader = ImageReader(shape, min(shape[1:]), shape[0] == 1, None)
    return _each(places, classes, reader, examples)


def listing_digest(root: Path, name: str, severities: Sequence[int], classes: Sequence[str]) -> str:
    """SHA-256 of the names and sizes of a corruption's images of these classes: it shows, without
    reading them, that they are others."""
    digest = hashlib.sha256()
    for severity in severities:
        files = _files(_folder(root, name) / str(severity), classes)
        for file in files.names.tolist():
            size = os.stat(os.path.join(os.fsencode(files.root), file)).st_size
            digest.update(b"%d/%b %d\n" % (severity, file, size))
    return digest.hexdigest()


def _folder(root: Path, name: str) -> Path:
    for place in _candidates(root, name):
        if place.is_dir():
            return place
    raise DataError(f"{root / name} is not a folder. Unpack the official archive in {root}.")


def _require_classes(place: Path, classes: Sequence[str]) -> None:
    if not place.is_dir():
        raise DataError(f"{place} is not a folder. Unpack the official archive again.")
    if missing := sorted(set(classes) - set(os.listdir(place))):
        raise DataError(
            f"{place} has no folder {quoted(missing)}: {len(missing)} of the run's "
            f"{len(classes)} classes are not there. It must be of the same classes as the run's "
            f"data set (ImageNet-C goes with dataset=imagenet, Tiny-ImageNet-C with tiny_imagenet)."
        )


def _tell_others(place: Path, classes: Sequence[str]) -> None:
    others = len({entry for entry in os.listdir(place) if (place / entry).is_dir()} - {*classes})
    if others:
        log.info(
            "corruptions: of %d class folders the run's %d are measured",
            others + len(classes),
            len(classes),
        )


def _each(
    places: list[tuple[str, int, Path]],
    classes: Sequence[str],
    reader: ImageReader,
    examples: int | None,
) -> Iterator[CorruptedImages]:
    for name, severity, place in places:
        images = FileImages(*_files(place, classes), reader, None)
        if examples is not None and examples < len(images):
            images = images.subset(torch.arange(examples) * len(images) // examples)
        yield CorruptedImages(name, severity, images)


def _files(place: Path, classes: Sequence[str]) -> FileList:
    names: list[bytes] = []
    labels: list[int] = []
    for label, folder in enumerate(classes):
        own = sorted(images_below(str(place / folder), Counter()))
        if not own:
            raise DataError(f"{place / folder} has no images. Unpack the official archive again.")
        names += [os.fsencode(f"{folder}/{file}") for file in own]
        labels += [label] * len(own)
    return FileList(place, np.array(names), torch.tensor(labels))
