"""The images of a batch that are still attacked."""

import torch
from torch import Tensor


class ActiveImages:
    """Which rows of a batch are still attacked, and the last image that was stored for each row."""

    def __init__(self, x: Tensor) -> None:
        self.images = x.clone()
        self.rows = torch.arange(len(x), device=x.device)  # of the batch, still attacked

    def store(self, images: Tensor, where: Tensor | None = None) -> None:
        """Store the images of the active rows, or of those in the mask `where`."""
        images = images.detach()
        if where is None:
            self.images[self.rows] = images
        else:
            self.images[self.rows[where]] = images[where]

    def keep(self, stay: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Only rows in the mask `stay` stay active; returns their part of each of `tensors`."""
        self.rows = self.rows[stay]
        return tuple(tensor[stay] for tensor in tensors)

    def __len__(self) -> int:
        return len(self.rows)
