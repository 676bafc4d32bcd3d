"""PGD: projected gradient ascent with random restarts (Madry et al., https://arxiv.org/abs/1706.06083)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import check_threat_model, same_at_radius, uniform_start
from robustrun.attacks.search.climb import climb
from robustrun.compute.modes import attack_mode
from robustrun.errors import require
from robustrun.losses import margin
from robustrun.types import ATTACKS


@ATTACKS.register("pgd")
@dataclass(frozen=True)
class PGD:
    """x <- project(x + step_size * steepest(grad loss)), `steps` times, `restarts` times over.

    An example is done as soon as one iterate fools the model, and keeps that image: once fooled,
    always fooled, whatever a later step or restart finds. The attack continues on the examples
    that are left. So robust accuracy is at most that of the last iterate alone.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # pixel units
    steps: int
    step_size: float  # pixel units
    restarts: int
    random_start: bool
    loss: Literal["ce", "margin"]  # cross-entropy, or largest wrong minus right logit

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True
    low_precision: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.restarts >= 1, "restarts", self.restarts, "at least 1")
        longest = f"0 to {2 * self.epsilon:g}, the width of the ball, in pixel units"
        require(0 <= self.step_size <= 2 * self.epsilon, "step_size", self.step_size, longest)
        require(
            self.restarts == 1 or self.random_start,
            "restarts",
            self.restarts,
            "1 without random_start: every restart would be the same",
        )

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        x_adv = x.clone()
        with attack_mode(model):
            left = torch.arange(len(x), device=x.device)
            for _ in range(self.restarts):
                start = x if not self.random_start else self._random_start(x, generator)
                x_adv[left], fooled = self._climb(model, x[left], y[left], start[left])
                left = left[~fooled]
                if len(left) == 0:
                    break
        return x_adv

    def _random_start(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return uniform_start(x, self.norm, self.epsilon, generator)

    def _climb(
        self, model: nn.Module, x: Tensor, y: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        return climb(
            model,
            x,
            y,
            start,
            lambda logits, rows: self._loss(logits, y[rows]),
            norm=self.norm,
            epsilon=self.epsilon,
            step_size=lambda _: self.step_size,
            steps=self.steps,
        )

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        if self.loss == "ce":
            return F.cross_entropy(logits, y, reduction="sum")
        return margin(logits, y).sum()

    with_radius = same_at_radius
