"""Training on images with Gaussian noise (Cohen et al. 2019, https://arxiv.org/abs/1902.02918,
section 3.3): what a network needs whose smoothed classifier is to be certified."""

from dataclasses import dataclass

from torch import Tensor

from robustrun.attacks.geometry.ball import gaussian_start
from robustrun.errors import require
from robustrun.types import METHODS, Learner


@METHODS.register("gaussian")
@dataclass(frozen=True)
class Gaussian:
    """L = CE(f(x + sigma N(0, I)), y), with other noise at each step, not clipped to the image box.

    Certify with the same noise: `evaluation=certificate evaluation.certificate.sigma=SIGMA`.
    """

    sigma: float  # standard deviation, pixel units

    def __post_init__(self) -> None:
        require(self.sigma >= 0, "sigma", self.sigma, "a standard deviation >= 0 in pixel units")

    @property
    def gaussian_noise(self) -> float:
        return self.sigma

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        return gaussian_start(x, self.sigma)

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return learner.cross_entropy(learner.model(x_adv), y)
