"""Standard training: cross-entropy on clean images, no defence."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from robustrun.types import METHODS, Learner


@METHODS.register("standard")
@dataclass(frozen=True)
class Standard:
    """L = CE(f(x), y)."""

    def step(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        loss = F.cross_entropy(learner.model(x), y)
        learner.update(loss)
        return loss
