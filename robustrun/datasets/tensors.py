"""Images kept in memory, as uint8 or float pixels."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustrun.compute.threads import num_threads
from robustrun.datasets.augmentation import Augment, as_floats
from robustrun.types import Shape

log = logging.getLogger(__name__)
MOST_OF_MEMORY = 0.5  # of a GPU's free memory that pixels may take: the network needs some, too


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
        """With the pixels on the device, unless they would fill its memory: then they stay, and
        each batch is copied to it."""
        if device.type == "cuda" and self.pixels.nbytes > MOST_OF_MEMORY * _free(device):
            gigabytes = self.pixels.nbytes / 1e9
            log.info("%.1f GB of pixels stay in main memory: the GPU has too little", gigabytes)
            return self
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
        with num_threads(1):  # a batch is copied before a second thread is awake
            pixels = _moved(self.pixels.index_select(0, at), device)  # still uint8: a quarter
            if self.augment is not None:
                pixels = self.augment(pixels)
            return as_floats(pixels)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.shape, len(self), str(self.pixels.dtype))).encode())
        digest.update(self.labels.contiguous().numpy().data)
        digest.update(self.pixels.cpu().contiguous().numpy().data)
        return digest.hexdigest()


def _moved(batch: Tensor, device: torch.device) -> Tensor:
    """The batch on its device; to a GPU it is copied while the program goes on."""
    if device.type == "cuda" and not batch.is_cuda:
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


def _free(device: torch.device) -> int:
    """Bytes of this GPU's memory that nobody uses."""
    return torch.cuda.mem_get_info(device)[0]
