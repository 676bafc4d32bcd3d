"""AT-BSL, adversarial training with the balanced softmax loss on long-tailed data (Yue et al. 2024,
https://arxiv.org/abs/2403.10073)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from robustrun.attacks.geometry.ball import check_threat_model
from robustrun.methods.inner import Inner
from robustrun.types import METHODS, Learner


@METHODS.register("at_bsl")
@dataclass(frozen=True)
class ATBSL:
    """L = CE(f(x') + log n, y), n the training examples per class; x' climbs the plain CE."""

    norm: Literal["linf", "l2"]
    epsilon: float  # radius in training, pixel units
    inner: Inner

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        return self.inner(learner.model, x, y, norm=self.norm, epsilon=self.epsilon)

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return learner.cross_entropy(learner.model(x_adv) + learner.class_counts.log(), y)
