"""The images of a batch that are still attacked."""

import torch
from torch import Tensor

from robustrun.attacks.geometry.ball import where_rows
from robustrun.compute import accelerators

ALL = slice(None)
Kept = Tensor | slice  # rows of a batch: indices, or ALL
GRADIENT_STEPS = 8  # between two looks of an attack that follows gradients
QUERIES = 64  # between two looks of an attack whose steps are a forward pass


class OpenRows:
    """Which rows of a batch are still searched.

    On a CPU, rows leave the batch as soon as they are done. An accelerator would have to be waited
    for at each step; there it is looked after 1, 2, 4, ... steps, and then after every
    `look_every`, how many rows are left. Until then a row that is done is computed with the
    others, to no effect.
    """

    def __init__(self, like: Tensor, look_every: int) -> None:
        self.rows = torch.arange(len(like), device=like.device)  # of the batch, still computed
        self.open = torch.ones(len(like), dtype=torch.bool, device=like.device)  # of `rows`
        self.empty = False  # whether no row is searched any more, as far as is known
        self.at_once = not accelerators.works_ahead(like)
        self._steps, self._look_every = 0, look_every

    def close(self, done: Tensor) -> Kept:
        """Rows in the mask `done` are. Returns which of the rows are computed from now on."""
        self._steps += 1
        self.open = self.open & ~done
        return self._compacted() if self.at_once or self._is_time() else ALL

    def _is_time(self) -> bool:
        """Most rows are done early, and most of those that are not never are."""
        power_of_two = self._steps & (self._steps - 1) == 0
        return power_of_two or self._steps % self._look_every == 0

    def _compacted(self) -> Kept:
        left = int(self.open.sum())  # waits for the device
        self.empty = left == 0
        if left == len(self.rows):
            return ALL
        kept = self.open.byte().argsort(descending=True, stable=True)[:left]
        self.rows, self.open = self.rows[kept], self.open[kept]
        return kept


class ActiveImages:
    """Which rows of a batch are still attacked, and the image that is stored for each row.

    Rows that are done leave the batch as `OpenRows` has it. The images are the same on every
    device: rows do not affect each other, and nothing is drawn for those that are left alone.
    """

    def __init__(self, x: Tensor, look_every: int, image: Tensor | None = None) -> None:
        """`image`: which image each row is, where one image has several rows."""
        self.images = x.clone()
        self.fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)  # of the whole batch
        self._left = OpenRows(x, look_every)
        self._image, self._number = image, 0 if image is None else int(image.max()) + 1

    @property
    def rows(self) -> Tensor:
        """Those of the batch that are still computed."""
        return self._left.rows

    @property
    def empty(self) -> bool:
        """Whether no row is attacked any more, as far as is known."""
        return self._left.empty

    def store(self, images: Tensor, where: Tensor | None = None) -> None:
        """Store the images of the rows that are attacked, or of those in the mask `where`."""
        those = self._left.open if where is None else where & self._left.open
        before = self.images[self.rows]
        self.images[self.rows] = where_rows(those, images.detach(), before)

    def leave(self, fooled: Tensor, images: Tensor) -> Kept:
        """Rows in the mask `fooled` are done, their images stored, and so are other rows of the
        same images. Returns which of the rows are computed from now on."""
        if self._left.at_once and not bool(fooled.any()):
            return ALL
        fooled = fooled & self._left.open
        self.store(images, fooled)
        self.fooled[self.rows] |= fooled
        kept = self._left.close(self._of_same_images(fooled))
        if self._image is not None:
            self._image = self._image[kept]
        return kept

    def _of_same_images(self, fooled: Tensor) -> Tensor:
        """Rows whose image is fooled in some row: the other runs on it are not needed any more."""
        if self._image is None:
            return fooled
        times = torch.zeros(self._number, dtype=torch.int32, device=fooled.device)
        return times.index_add_(0, self._image, fooled.int())[self._image] > 0
