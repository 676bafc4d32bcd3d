"""Fast adversarial training, FGSM-RS (Wong et al. 2020, https://arxiv.org/abs/2001.03994)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from robustrun.attacks.geometry.ball import check_threat_model, uniform_start
from robustrun.attacks.search.ascent import ascend
from robustrun.compute.modes import BnMode, attack_mode
from robustrun.errors import require
from robustrun.types import METHODS, Learner


@METHODS.register("fast_at")
@dataclass(frozen=True)
class FastAT:
    """L = CE(f(x'), y), with x' one step of 1.25 epsilon from a random point of the ball.

    Robustness can still be lost within an epoch ("catastrophic overfitting"), above all at a
    larger radius; the authors advise a smaller step there.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # radius in training, pixel units
    step_size: float  # pixel units
    bn_mode: BnMode

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.step_size >= 0, "step_size", self.step_size, "a step >= 0 in pixel units")

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        with attack_mode(learner.model, self.bn_mode):
            return ascend(
                lambda x_adv: len(x) * self.loss(learner, x, x_adv, y),
                x,
                uniform_start(x, self.norm, self.epsilon),
                norm=self.norm,
                epsilon=self.epsilon,
                step_size=self.step_size,
                steps=1,
            )

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return learner.cross_entropy(learner.model(x_adv), y)
