"""Adam on one row of parameters per image (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980).

torch's optimizer cannot let images leave the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustrun.attacks.search.active import Kept

BETA1, BETA2, OFFSET = 0.9, 0.999, 1e-8  # the paper's, as torch has them


@dataclass
class Adam:
    """The running moments of the gradient, one row per image; all images begin together."""

    lr: float
    mean: Tensor
    square: Tensor
    steps: int = 0

    @classmethod
    def of(cls, parameters: Tensor, lr: float) -> "Adam":
        return cls(lr, torch.zeros_like(parameters), torch.zeros_like(parameters))

    def step(self, slope: Tensor) -> Tensor:
        """What to add to the parameters to go down this slope."""
        self.steps += 1
        self.mean = torch.lerp(slope, self.mean, BETA1)
        self.square = torch.lerp(slope * slope, self.square, BETA2)
        mean = self.mean / (1 - BETA1**self.steps)
        square = self.square / (1 - BETA2**self.steps)
        return -self.lr * mean / (square.sqrt() + OFFSET)

    def keep(self, kept: Kept) -> None:
        """Only these rows: indices, a mask, or all."""
        self.mean, self.square = self.mean[kept], self.square[kept]
