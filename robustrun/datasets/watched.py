"""Images of a class that is not ours: each batch is checked as it comes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustrun.datasets.augmentation import as_floats
from robustrun.datasets.checks import checked_pair, checked_pixels, size
from robustrun.errors import DataError
from robustrun.types import Images, Shape


@dataclass(frozen=True, eq=False)
class Watched:
    """Images of a foreign class: each batch is checked as it comes, and converted."""

    images: Images
    place: str
    labels: Tensor  # int64 of shape N, on the CPU

    @property
    def shape(self) -> Shape:
        channels, height, width = self.images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "Watched":
        labels = self.labels[indices.cpu()]
        return replace(self, images=self.images.subset(indices), labels=labels)

    def plain(self) -> "Watched":
        return replace(self, images=self.images.plain())

    def to(self, device: torch.device) -> "Watched":
        return replace(self, images=self.images.to(device))

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        device: torch.device | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        due = self.labels if order is None else self.labels[order.cpu()]
        done = skip * batch_size
        for batch in self.images.batches(batch_size, order, device, skip):
            x, y = checked_pair(batch, self.place)
            expected = due[done : done + batch_size]
            _require(x, y, expected, self.shape, f"{self.place}, from number {done} of a pass on")
            yield as_floats(checked_pixels(x, self.place)), expected.to(x.device)
            done += len(x)
        if done < len(due):
            raise DataError(f"{self.place}: batches() ends after {done} of {len(due)} images.")

    def fingerprint(self) -> str:
        return self.images.fingerprint()


def _require(x: Tensor, y: Tensor, expected: Tensor, shape: Shape, place: str) -> None:
    """DataError unless a batch has the images and labels that are due."""
    if x.shape != (len(expected), *shape):
        raise DataError(
            f"{place}: a batch has shape {size(x.shape)}, but {len(expected)} x {size(shape)} "
            f"was due (the batch size, or what is left, and the images' `shape`)."
        )
    if not torch.equal(y.cpu().long(), expected):
        raise DataError(f"{place}: the labels of batches() are not those of `labels`.")
