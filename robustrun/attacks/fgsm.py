"""FGSM: one step of the size of the ball (Goodfellow et al., https://arxiv.org/abs/1412.6572)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import check_threat_model, same_at_radius
from robustrun.attacks.search.ascent import ascend
from robustrun.compute.modes import attack_mode
from robustrun.types import ATTACKS


@ATTACKS.register("fgsm")
@dataclass(frozen=True)
class FGSM:
    """x + epsilon * sign(grad CE), clamped to the image box (for l2: the normalised gradient)."""

    norm: Literal["linf", "l2"]
    epsilon: float  # pixel units

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True
    low_precision: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        with attack_mode(model):
            return ascend(
                lambda x_adv: F.cross_entropy(model(x_adv), y, reduction="sum"),
                x,
                x,
                norm=self.norm,
                epsilon=self.epsilon,
                step_size=self.epsilon,
                steps=1,
            )

    with_radius = same_at_radius
