"""Images of files that are decoded into memory, when they are needed and only those."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from robustrun.datasets.contents import content_digests
from robustrun.datasets.files import FileImages
from robustrun.datasets.pixel_cache import PixelCache
from robustrun.datasets.tensors import TensorImages
from robustrun.types import Shape

log = logging.getLogger(__name__)
AT_ONCE = 250  # images that are decoded together
LOG_EVERY = 10_000  # images


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """A part of a data set that fits into memory. Parts of it are cut without reading a file;
    batches, or `to`, decode all of this part once."""

    files: FileImages

    @property
    def labels(self) -> Tensor:
        return self.files.labels

    @property
    def shape(self) -> Shape:
        return self.files.shape

    def __len__(self) -> int:
        return len(self.files)

    def subset(self, indices: Tensor) -> "DecodedImages":
        return DecodedImages(self.files.subset(indices))

    def plain(self) -> "DecodedImages":
        return DecodedImages(self.files.plain())

    @cached_property
    def in_memory(self) -> TensorImages:
        """All of the images, decoded; DataError names a file that cannot be."""
        return decode(self.files)

    def to(self, device: torch.device) -> TensorImages:
        return self.in_memory.to(device)

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        device: torch.device | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return self.in_memory.batches(batch_size, order, device, skip)

    def fingerprint(self) -> str:
        return self.files.fingerprint()


def decode(images: FileImages) -> TensorImages:
    """The images in memory: from the cache of earlier runs, or decoded and kept for later ones."""
    pixels = torch.empty((len(images), *images.shape), dtype=torch.uint8)
    has_more_frames = torch.zeros(len(images), dtype=torch.bool)
    cache = PixelCache.of(images.reader)
    if cache.folder is None:
        _decode(images, torch.arange(len(images)), pixels, has_more_frames)
    else:
        keys = _digests(images)
        filled = cache.fill(keys, pixels, has_more_frames)
        missing = (~filled).nonzero()[:, 0]
        _decode(images, missing, pixels, has_more_frames)
        _keep(images, missing, cache, keys, pixels, has_more_frames)
    images.tell_frames(torch.arange(len(images)), has_more_frames)
    return TensorImages(pixels, images.labels, images.augment)


def _decode(images: FileImages, chosen: Tensor, pixels: Tensor, has_more_frames: Tensor) -> None:
    """Read the chosen files into their places."""
    done = 0
    for batch in images.read(AT_ONCE, chosen):
        at = chosen[done : done + len(batch.pixels)]
        pixels[at], has_more_frames[at] = batch
        done += len(at)
        if done % LOG_EVERY < len(at) and done >= LOG_EVERY:
            log.info("decoded %d of %d images below %s", done, len(chosen), images.root)


def _keep(
    images: FileImages,
    chosen: Tensor,
    cache: PixelCache,
    keys: list[bytes],
    pixels: Tensor,
    has_more_frames: Tensor,
) -> None:
    """Put the chosen images into the cache, unless their files changed while they were read."""
    after = _digests(images.subset(chosen))
    pairs = zip(chosen.tolist(), after, strict=True)
    same = [place for place, key in pairs if keys[place] == key]
    cache.add(
        [keys[place] for place in same],
        [pixels[place] for place in same],
        [bool(has_more_frames[place]) for place in same],
    )


def _digests(images: FileImages) -> list[bytes]:
    return content_digests(images.root, images.names.tolist())
