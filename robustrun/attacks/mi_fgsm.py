"""MI-FGSM: ascent along an accumulated gradient (Dong et al. 2018, https://arxiv.org/abs/1710.06081)."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import check_threat_model, same_at_radius
from robustrun.attacks.search.cascade import run_until_fooled
from robustrun.attacks.search.climb import Momentum, climb
from robustrun.compute.modes import attack_mode
from robustrun.errors import require
from robustrun.types import ATTACKS


@ATTACKS.register("mi_fgsm")
@dataclass(frozen=True)
class MIFGSM:
    """g <- decay * g + grad CE / ||grad CE||_1; then a step of `step_size` steepest along g.

    From the clean image, without randomness. An image leaves the batch, and is kept, as soon as
    it fools the model.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # pixel units
    steps: int
    step_size: float  # pixel units
    decay: float  # what of the accumulated gradient is kept at each step

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True
    low_precision: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.step_size >= 0, "step_size", self.step_size, "a step >= 0 in pixel units")
        require(self.decay >= 0, "decay", self.decay, "at least 0")

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        with attack_mode(model):
            return run_until_fooled(model, x, y, [partial(self._run, model, x, y)])

    def _run(self, model: nn.Module, x: Tensor, y: Tensor, left: Tensor) -> Tensor:
        x, y = x[left], y[left]
        x_adv, _ = climb(
            model,
            x,
            y,
            x,
            lambda logits, rows: F.cross_entropy(logits, y[rows], reduction="sum"),
            norm=self.norm,
            epsilon=self.epsilon,
            step_size=lambda _: self.step_size,
            steps=self.steps,
            momentum=Momentum(x, self.decay),
        )
        return x_adv

    with_radius = same_at_radius
