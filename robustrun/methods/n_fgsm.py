"""N-FGSM (de Jorge et al. 2022, https://arxiv.org/abs/2202.01181): a single step from strong noise,
which is not clipped to the ball afterwards."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from robustrun.attacks.geometry.ball import check_threat_model, steepest, uniform_start
from robustrun.attacks.search.ascent import gradient
from robustrun.compute.modes import BnMode, attack_mode
from robustrun.errors import require
from robustrun.types import METHODS, Learner


@METHODS.register("n_fgsm")
@dataclass(frozen=True)
class NFGSM:
    """L = CE(f(x'), y), x' = clamp(z + step_size * sign(grad CE(z))), z = clamp(x + U(-k e, k e)).

    x' may lie up to (noise + 1) * epsilon from x: clipping it to the ball would bring back
    catastrophic overfitting, the paper finds. Only the image box clamps.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # radius in training, pixel units
    noise: float  # k: the noise's radius in units of epsilon
    step_size: float  # pixel units
    bn_mode: BnMode

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.noise >= 0, "noise", self.noise, "a multiple of epsilon, >= 0")
        require(self.step_size >= 0, "step_size", self.step_size, "a step >= 0 in pixel units")

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        noisy = uniform_start(x, self.norm, self.noise * self.epsilon)
        with attack_mode(learner.model, self.bn_mode):
            slope, _ = gradient(lambda z: len(x) * self.loss(learner, x, z, y), noisy)
        return (noisy + self.step_size * steepest(slope, self.norm)).clamp(0.0, 1.0)

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return learner.cross_entropy(learner.model(x_adv), y)
