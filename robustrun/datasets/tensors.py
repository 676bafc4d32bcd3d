"""Images kept in memory as uint8, and the augmentation of whole batches on their device."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from robustrun.shares import layers_with
from robustrun.types import Shape


@dataclass(frozen=True)
class Augment:
    """Random crop after zero padding, and horizontal flip, drawn for each image on its own."""

    crop_padding: int  # pixels on each side
    flip: bool

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels N x C x H x W of any type; all randomness is torch's global generator."""
        if self.crop_padding:
            pixels = random_crop(pixels, self.crop_padding)
        return random_flip(pixels) if self.flip else pixels


def random_crop(pixels: Tensor, padding: int) -> Tensor:
    """Each image shifted by up to `padding` pixels either way, zeros coming in at the border."""
    count, channels, height, width = pixels.shape
    padded = F.pad(pixels, [padding] * 4)
    tall, wide = padded.shape[2:]
    dy, dx = torch.randint(0, 2 * padding + 1, (2, count), device=pixels.device)
    images = torch.arange(count, device=pixels.device) * (channels * tall * wide) + dy * wide + dx
    planes = torch.arange(channels, device=pixels.device) * (tall * wide)
    rows = torch.arange(height, device=pixels.device) * wide
    starts = images[:, None, None] + planes[:, None] + rows  # N x C x H: where each row begins
    # A view of every run of `width` pixels: rows are copied whole, not pixel by pixel.
    runs = padded.flatten().unfold(0, width, 1)
    return runs.index_select(0, starts.flatten()).view(pixels.shape)


def random_flip(pixels: Tensor) -> Tensor:
    """Each image mirrored left to right with probability 1/2."""
    count = len(pixels)
    mirrored = torch.rand(count, device=pixels.device) < 0.5
    # Whole images are picked from both kinds: faster than torch.where, which goes pixel by pixel.
    both = torch.cat([pixels, pixels.flip(-1)])
    return both.index_select(0, torch.arange(count, device=pixels.device) + count * mirrored)


def as_floats(pixels: Tensor) -> Tensor:
    """uint8 pixels as float32 in [0, 1]; float pixels as they are."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels


@dataclass(frozen=True, eq=False)
class TensorImages:
    """A data set that fits into memory: uint8 pixels N x C x H x W, or float pixels in [0, 1]."""

    pixels: Tensor
    labels: Tensor
    augment: Augment | None = None

    @property
    def shape(self) -> Shape:
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "TensorImages":
        pixels = self.pixels.index_select(0, indices.to(self.pixels.device))
        return replace(self, pixels=pixels, labels=self.labels[indices.cpu()])

    def plain(self) -> "TensorImages":
        return replace(self, augment=None)

    def to(self, device: torch.device) -> "TensorImages":
        return replace(self, pixels=self.pixels.to(device))

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        device: torch.device | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        device = device or self.pixels.device
        order = torch.arange(len(self)) if order is None else order.cpu()
        labels = self.labels[order].to(device)
        at = order.to(self.pixels.device)
        for first in range(skip * batch_size, len(order), batch_size):
            chosen = slice(first, first + batch_size)
            yield self._batch(at[chosen], device), labels[chosen]

    def _batch(self, at: Tensor, device: torch.device) -> Tensor:
        with layers_with(1):  # a batch is copied before a second thread is awake
            pixels = self.pixels.index_select(0, at).to(device)  # still uint8: a quarter
            if self.augment is not None:
                pixels = self.augment(pixels)
            return as_floats(pixels)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.shape, len(self), str(self.pixels.dtype))).encode())
        digest.update(self.labels.contiguous().numpy().data)
        digest.update(self.pixels.cpu().contiguous().numpy().data)
        return digest.hexdigest()
