"""Salt-and-pepper noise: random pixels turned white or black; a corruption, not an adversary."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import check_threat_model
from robustrun.errors import require
from robustrun.types import ATTACKS


@ATTACKS.register("salt_and_pepper")
@dataclass(frozen=True)
class SaltAndPepper:
    """Each pixel, in all its channels, becomes white or black with probability `amount` / 2 each.

    Its colour analogue, each channel on its own, is the impulse noise of the common corruptions
    (Hendrycks & Dietterich, https://arxiv.org/abs/1903.12261). `norm` and `epsilon` only name the
    threat model for training.
    """

    norm: Literal["linf", "l2", "l1"]
    epsilon: float  # pixel units
    amount: float  # share of the pixels that change

    bounded: ClassVar[bool] = False
    adversarial: ClassVar[bool] = False

    @property
    def own_radius(self) -> tuple[str, float]:
        """What its images are within, as results name it: no ball, so the share of the pixels."""
        return "share of pixels", self.amount

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(0 <= self.amount <= 1, "amount", self.amount, "a share of the pixels, 0 to 1")

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        draw = torch.rand(x[:, :1].shape, generator=generator, device=x.device, dtype=x.dtype)
        peppered = torch.where(draw < self.amount / 2, 0.0, x)
        return torch.where(draw >= 1 - self.amount / 2, 1.0, peppered)
