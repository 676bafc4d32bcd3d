"""Images that stay on disk and are decoded batch by batch, or all at once into memory."""

import hashlib
import logging
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from robustrun.datasets.augmentation import Augment, as_floats
from robustrun.datasets.contents import content_digests
from robustrun.datasets.pictures import Colour, channels_of, converted, open_image
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError, RunFailure, shown
from robustrun.types import Shape

log = logging.getLogger(__name__)

DECODED_AT_ONCE = 250
LOG_EVERY = 10_000


class Pixels(NamedTuple):
    """What was read of one file, or of several."""

    pixels: Tensor  # uint8, C x H x W or N x C x H x W
    several_frames: str | None  # a file that has more frames than the one that is used


@dataclass(frozen=True)
class Reading:
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

    def __call__(self, path: Path, seed: int = 0) -> Pixels:
        image, frames = open_image(path)
        channels, height, width = self.shape
        if channels == 1 and channels_of(image.mode) == 3 and not self.to_grey:
            raise DataError(
                f"{shown(path)} is in colour, but the first image of the data set is grey. "
                f"Set dataset.channels=3, or dataset.channels=1 to read all of them as grey."
            )
        image = self._framed(converted(image, channels, self.background), path, seed)
        pixels = torch.from_numpy(np.array(image)).view(height, width, channels).permute(2, 0, 1)
        return Pixels(pixels, shown(path) if frames else None)

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


@dataclass(frozen=True, eq=False)
class FileImages:
    """A data set read from disk while it is used, by `workers` processes (0: by this one).

    The batches are the same for any number of workers.
    """

    root: Path
    names: (
        np.ndarray
    )  # paths below root, as bytes: one array, which workers share and need not copy
    labels: Tensor
    reading: Reading
    workers: int
    augment: Augment | None = None
    told: set[str] = field(default_factory=set)  # what was said of the files already; parts share

    @property
    def shape(self) -> Shape:
        return self.reading.shape

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "FileImages":
        at = indices.cpu()
        return replace(self, names=self.names[at.numpy()], labels=self.labels[at])

    def plain(self) -> "FileImages":
        return replace(self, augment=None, reading=replace(self.reading, random_crop=False))

    def to(self, device: torch.device) -> "FileImages":
        return self

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        device: torch.device | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        device = device or torch.device("cpu")
        order = torch.arange(len(self)) if order is None else order.cpu()
        labels = self.labels[order].to(device)
        first = skip * batch_size
        for pixels in self.pixels(batch_size, order, skip, pin=device.type == "cuda"):
            pixels = pixels.to(device, non_blocking=True)
            if self.augment is not None:
                pixels = self.augment(pixels)
            yield as_floats(pixels), labels[first : first + len(pixels)]
            first += len(pixels)

    def pixels(
        self, batch_size: int, order: Tensor, skip: int = 0, pin: bool = False
    ) -> Iterator[Tensor]:
        """The images as read, uint8, before augmentation."""
        # Seeds are drawn here, one an image, so that it does not matter which worker reads it.
        seeds = torch.zeros_like(order)
        if self.reading.random_crop:
            seeds.random_(generator=torch.Generator().manual_seed(zlib.crc32(order.numpy().data)))
        jobs = torch.split(torch.stack([order, seeds], dim=1), batch_size)[skip:]
        if len(order) == 0 or not jobs:
            return
        loader: DataLoader[Any] = DataLoader(
            _Batches(self),  # type: ignore[arg-type]
            batch_size=None,  # an item is a whole batch
            sampler=jobs,
            num_workers=min(self.workers, len(jobs)),
            pin_memory=pin,
            generator=torch.Generator(),  # its own, or it would draw from the global one
        )
        try:
            for batch in loader:
                if isinstance(batch, DataError):
                    raise batch
                self._tell(batch.several_frames)
                yield batch.pixels
        except (RuntimeError, EOFError, ConnectionError) as error:
            raise RunFailure(
                f"A worker process that reads images below {self.root} ended too early, killed or "
                f"out of memory ({error}). Fewer dataset.workers need less memory."
            ) from error

    def _tell(self, several_frames: str | None) -> None:
        if several_frames is not None and not self.told:
            self.told.add(several_frames)
            log.warning(
                "only the first frame is used of images that have several: %s", several_frames
            )

    def path(self, index: int) -> Path:
        return self.root / os.fsdecode(self.names[index])

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.plain().reading, len(self))).encode())
        digest.update(self.labels.contiguous().numpy().data)
        names: list[bytes] = self.names.tolist()
        for name, content in zip(names, content_digests(self.root, names), strict=True):
            digest.update(b"%d %b %b" % (len(name), name, content))
        return digest.hexdigest()


@dataclass(frozen=True)
class _Batches:
    """What a DataLoader's workers do: (index, seed) pairs to the pixels of a batch."""

    images: FileImages

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, pairs: Tensor) -> Pixels | DataError:
        try:
            read = self.images.reading
            every = [read(self.images.path(i), seed) for i, seed in pairs.tolist()]
            several = (one.several_frames for one in every if one.several_frames is not None)
            return Pixels(torch.stack([one.pixels for one in every]), next(several, None))
        except DataError as error:
            return error  # returned, not raised: a DataLoader would wrap it in a traceback


def decode_all(images: FileImages) -> TensorImages:
    """All of the images, decoded once into memory."""
    pixels = torch.empty((len(images), *images.shape), dtype=torch.uint8)
    done = 0
    for batch in images.pixels(DECODED_AT_ONCE, torch.arange(len(images))):
        pixels[done : done + len(batch)] = batch
        done += len(batch)
        if done % LOG_EVERY < len(batch) and done >= LOG_EVERY:
            log.info("decoded %d of %d images below %s", done, len(images), images.root)
    return TensorImages(pixels, images.labels, images.augment)
