"""A data set of another library in memory: its arrays, its files, or its pictures one by one."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from robustrun.datasets.checks import kind
from robustrun.datasets.decoded import decode
from robustrun.datasets.files import FileImages
from robustrun.datasets.image_reader import ImageReader, centre_crop
from robustrun.datasets.pictures import channels_of, open_image
from robustrun.errors import DataError

log = logging.getLogger(__name__)
LOG_EVERY = 5000  # images
SAMPLES = 20  # items, about so many, whose labels are compared
# Where torchvision's classes keep the paths of their pictures and the labels: together, or apart.
TOGETHER = ("_samples", "samples", "imgs")
APART = (("_image_files", "_labels"), ("_images", "_labels"), ("data", "targets"))


def arrays_of(part: Any, image_size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) of a part: its own arrays `data` and `targets` or `labels`, if it has them
    and they need not be scaled; else its files, or its pairs (PIL image, label), decoded."""
    if (files := files_of(part)) is not None:
        return from_files(part, files, image_size)
    data = getattr(part, "data", None)
    labels = getattr(part, "targets", getattr(part, "labels", None))
    if data is None or labels is None or np.ndim(labels) != 1 or image_size is not None:
        return decoded(part, image_size)
    return np.asarray(data), np.asarray(labels)


def files_of(part: Any) -> list[tuple[str, int]] | None:
    """The path and the label of each picture; None for a part that is not made of files."""
    pairs: Iterable[tuple[Any, Any]] = next(
        (getattr(part, name) for name in TOGETHER if hasattr(part, name)), ()
    )
    for paths, labels in APART:
        if not pairs and hasattr(part, paths) and hasattr(part, labels):
            pairs = zip(getattr(part, paths), getattr(part, labels), strict=True)
    with suppress(AttributeError):  # in another version of torchvision: its items are decoded
        pairs = pairs or [(os.path.join(part.root, *path), label) for path, label in _built(part)]
    files = []
    for path, label in pairs:
        if not isinstance(path, (str, Path)) or not isinstance(label, int):
            return None
        files.append((os.fspath(path), label))
    return files if files and _gives(part, files) else None


def _built(part: Any) -> Iterator[tuple[tuple[str, ...], int]]:
    """The path below the root, and the label, of each picture of the classes that keep no list of
    them: as their items build it."""
    match type(part).__name__:
        case "Caltech101":
            for number, y in zip(part.index, part.y, strict=True):
                yield ("101_ObjectCategories", part.categories[y], f"image_{number:04d}.jpg"), y
        case "Caltech256":
            for number, y in zip(part.index, part.y, strict=True):
                name = f"{y + 1:03d}_{number:04d}.jpg"
                yield ("256_ObjectCategories", part.categories[y], name), y
        case "INaturalist":
            for y, name in part.index:
                yield (part.all_categories[y], name), y
        case "Omniglot":
            for name, y in part._flat_character_images:
                yield (part.target_folder, part._characters[y], name), y


def _gives(part: Any, files: list[tuple[str, int]]) -> bool:
    """Whether the part gives these labels, as some of its items show: a class may be asked for
    others than those that it keeps beside its files (OxfordIIITPet)."""
    for place in range(0, len(files), max(len(files) // SAMPLES, 1)):
        path, label = files[place]
        open_image(Path(path))  # which names it, if it is damaged
        if _item(part, place)[1] != label:
            return False
    return True


def from_files(
    part: Any, files: list[tuple[str, int]], image_size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of these files N x H x W x C, in the mode of the part's first, and their labels;
    what was decoded before comes from the cache."""
    image, _ = open_image(Path(files[0][0]))
    channels = channels_of(_item(part, 0)[0].mode)
    shape = channels, image_size or image.height, image_size or image.width
    names = np.array([os.fsencode(os.path.relpath(path, part.root)) for path, _ in files])
    labels = torch.tensor([label for _, label in files])
    reader = ImageReader(shape, image_size, channels == 1, None)
    images = FileImages(Path(part.root), names, labels, reader, None)
    return decode(images).pixels.permute(0, 2, 3, 1).numpy(), labels.numpy()


def decoded(part: Any, image_size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The pictures N x H x W x C, all grey or in colour as the first one is, and their labels."""
    images: np.ndarray | None = None
    labels = np.zeros(len(part), np.int64)
    for place in range(len(part)):
        image, labels[place] = _item(part, place)
        pixels = _pixels(image, image_size, images)
        if images is None:
            images = np.empty((len(part), *pixels.shape), np.uint8)
        if pixels.shape != images.shape[1:]:
            raise DataError(
                f"Image {place} is {image.width} x {image.height} pixels, but the first is "
                f"{images.shape[2]} x {images.shape[1]}. Set dataset.image_size=N to scale and "
                f"crop all of them to N x N."
            )
        images[place] = pixels
        if (place + 1) % LOG_EVERY == 0:
            log.info("decoded %d of %d images", place + 1, len(part))
    return np.empty((0, 1, 1, 1), np.uint8) if images is None else images, labels


def _item(part: Any, place: int) -> tuple[Image.Image, int]:
    try:
        image, label = part[place]
        if isinstance(image, Image.Image):
            image.load()  # which closes its file, where a class leaves that open (Caltech101)
    except (OSError, SyntaxError, ValueError) as error:  # PIL, of damaged files
        raise DataError(f"Image {place} cannot be read ({error}).") from error
    for item, wanted in ((image, Image.Image), (label, int | np.integer)):
        if not isinstance(item, wanted):
            raise DataError(
                f"Item {place} of dataset.source has a {kind(item)}, but an image and its class, a "
                f"whole number, are due."
            )
    return image, label


def _pixels(image: Image.Image, size: int | None, others: np.ndarray | None) -> np.ndarray:
    channels = channels_of(image.mode) if others is None else others.shape[3]
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        image = centre_crop(image, size, size, size)
    return np.array(image).reshape(image.height, image.width, channels)
