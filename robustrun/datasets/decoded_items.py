"""A data set of another library in memory: its arrays, or its pictures one by one."""

import logging
from typing import Any

import numpy as np
from PIL import Image

from robustrun.datasets.image_reader import centre_crop
from robustrun.datasets.pictures import channels_of
from robustrun.errors import DataError

log = logging.getLogger(__name__)
LOG_EVERY = 5000  # images


def arrays_of(part: Any, image_size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) of a part: its own arrays `data` and `targets` or `labels`, if it has them
    and they need not be scaled; else pairs (PIL image, label), decoded."""
    data = getattr(part, "data", None)
    labels = getattr(part, "targets", getattr(part, "labels", None))
    if data is None or labels is None or image_size is not None:
        return decoded(part, image_size)
    return np.asarray(data), np.asarray(labels)


def decoded(part: Any, image_size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The pictures N x H x W x C, all grey or in colour as the first one is, and their labels."""
    images: np.ndarray | None = None
    labels = np.zeros(len(part), np.int64)
    for place in range(len(part)):
        image, labels[place] = part[place]
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


def _pixels(image: Image.Image, size: int | None, others: np.ndarray | None) -> np.ndarray:
    channels = channels_of(image.mode) if others is None else others.shape[3]
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        image = centre_crop(image, size, size, size)
    return np.array(image).reshape(image.height, image.width, channels)
