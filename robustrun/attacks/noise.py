"""Random noise: a corruption, not an adversary, and the notebook's version of it."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import check_threat_model, gaussian_start
from robustrun.types import ATTACKS

MID_GREY = 0.5  # zero, in images normalised to [-1, 1]


@ATTACKS.register("gaussian_noise")
@dataclass(frozen=True)
class GaussianNoise:
    """clamp(x + epsilon * N(0, 1)): independent normal noise, `epsilon` its standard deviation.

    Accuracy under noise says little about accuracy under attack (Carlini et al.,
    https://arxiv.org/abs/1902.06705, section 3): random directions hardly ever cross a boundary
    that is close in one direction. `norm` only names the threat model for training.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # standard deviation in pixel units

    bounded: ClassVar[bool] = False
    adversarial: ClassVar[bool] = False

    @property
    def own_radius(self) -> tuple[str, float]:
        """What its images are within, as results name it: no ball, so the deviation."""
        return "std", self.epsilon

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        return gaussian_start(x, self.epsilon, generator).clamp(0.0, 1.0)


@ATTACKS.register("notebook_noise")
@dataclass(frozen=True)
class NotebookNoise:
    """The notebook's "robustness": noise, then a clamp that belongs to other units.

    The notebook normalised images to [-1, 1], added noise of standard deviation 0.1 (0.05 in pixel
    units) and clamped to [0, 1] *in those units*: every pixel darker than mid-grey becomes
    mid-grey. What it measures is therefore neither robustness nor noise, but accuracy on images
    whose dark half was erased. A model trained on images that were clamped in the same way (the
    notebook's FGSM training) scores higher on it than on clean images. Kept for comparison only.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # standard deviation in pixel units

    bounded: ClassVar[bool] = False
    adversarial: ClassVar[bool] = False

    @property
    def own_radius(self) -> tuple[str, float]:
        """What its images are within, as results name it: no ball, so the deviation."""
        return "std", self.epsilon

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        return gaussian_start(x, self.epsilon, generator).clamp(MID_GREY, 1.0)
