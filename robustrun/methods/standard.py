"""Standard training: cross-entropy on clean images, no defence."""

from dataclasses import dataclass

from torch import Tensor

from robustrun.types import METHODS, Learner


@METHODS.register("standard")
@dataclass(frozen=True)
class Standard:
    """L = CE(f(x), y)."""

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        return x

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return learner.cross_entropy(learner.model(x), y)
