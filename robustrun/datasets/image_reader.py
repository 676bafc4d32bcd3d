"""An image file as pixels of the size and number of channels that a data set has."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustrun.datasets.pictures import Colour, channels_of, converted, open_image
from robustrun.errors import DataError, shown
from robustrun.types import Shape


class Pixels(NamedTuple):
    """What was read of one file, or of several."""

    pixels: Tensor  # uint8, C x H x W or N x C x H x W
    has_more_frames: Tensor  # bool, of no dimension or of shape N: only the first frame is used


@dataclass(frozen=True)
class ImageReader:
    """How a file becomes pixels C x H x W.

    `resize` scales the shorter side to that many pixels and crops the centre; without it, every
    image must have the right size. `random_crop` takes a random part of random size and aspect
    instead (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842, section 6).
    `to_grey` allows colour images to be read as grey ones. `background` is what shows through
    transparent pixels; None: their own colour, alpha is dropped.
    """

    shape: Shape
    resize: int | None
    to_grey: bool
    background: Colour | None
    random_crop: bool = False

    def identity(self) -> str:
        """What decides the pixels, for fingerprints: it must stay as older runs have it."""
        return repr(replace(self, random_crop=False)).replace("ImageReader", "Reading", 1)

    def __call__(self, path: Path, seed: int = 0, content: bytes | None = None) -> Pixels:
        image, frames = open_image(path, content)
        channels, height, width = self.shape
        if channels == 1 and channels_of(image.mode) == 3 and not self.to_grey:
            raise DataError(
                f"{shown(path)} is in colour, but the first image of the data set is grey. "
                f"Set dataset.channels=3, or dataset.channels=1 to read all of them as grey."
            )
        image = self._framed(converted(image, channels, self.background), path, seed)
        pixels = torch.from_numpy(np.array(image)).view(height, width, channels).permute(2, 0, 1)
        return Pixels(pixels, torch.tensor(frames))

    def _framed(self, image: Image.Image, path: Path, seed: int) -> Image.Image:
        _, height, width = self.shape
        if self.random_crop:
            return random_resized_crop(image, height, width, seed)
        if self.resize is not None:
            return centre_crop(image, self.resize, height, width)
        if image.size != (width, height):
            raise DataError(
                f"{shown(path)} is {image.width} x {image.height} pixels, but the first image of "
                f"the data set is {width} x {height}. Set dataset.image_size=N to scale and crop "
                f"all of them to N x N."
            )
        return image


def centre_crop(image: Image.Image, resize: int, height: int, width: int) -> Image.Image:
    """The shorter side scaled to `resize` pixels, then the middle height x width."""
    # torchvision takes seconds to import, and most data sets do without it.
    from torchvision.transforms.v2 import functional

    scaled = functional.resize(image, [resize]) if min(image.size) != resize else image
    cropped: Image.Image = functional.center_crop(scaled, [height, width])
    return cropped


def random_resized_crop(image: Image.Image, height: int, width: int, seed: int) -> Image.Image:
    """A random part of the image, which depends on `seed` alone, scaled to height x width."""
    from torchvision.transforms.v2 import RandomResizedCrop

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        cropped: Image.Image = RandomResizedCrop((height, width))(image)
    return cropped
