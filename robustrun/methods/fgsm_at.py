"""FGSM training (Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572, section 6)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from robustrun.attacks.geometry.ball import check_threat_model
from robustrun.errors import require
from robustrun.methods.inner import Inner
from robustrun.types import METHODS, Learner


@METHODS.register("fgsm_at")
@dataclass(frozen=True)
class FGSMAT:
    """L = alpha * CE(f(x), y) + (1 - alpha) * CE(f(x'), y), with x' one full step from x itself.

    Without a random start the network soon learns to mislead the single step ("catastrophic
    overfitting"): watch the robust accuracy on the validation split, or use `fast_at`.
    """

    alpha: float  # weight of the clean images
    norm: Literal["linf", "l2"]
    epsilon: float  # radius in training, pixel units
    inner: Inner

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(0 <= self.alpha <= 1, "alpha", self.alpha, "in [0, 1]")

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        return self.inner(learner.model, x, y, norm=self.norm, epsilon=self.epsilon)

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        clean = learner.cross_entropy(learner.model(x), y)
        adversarial = learner.cross_entropy(learner.model(x_adv), y)
        return self.alpha * clean + (1 - self.alpha) * adversarial
