"""The adversary inside training: what a method's `inner` block in its YAML file describes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import gaussian_start, project, steepest, uniform_start
from robustrun.attacks.search.ascent import Objective, ascend
from robustrun.compute.batch_parts import own_rows, whole_like
from robustrun.compute.folding import folded
from robustrun.compute.modes import BnMode, attack_mode
from robustrun.errors import require

Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Inner:
    """Projected ascent as one method's authors run it; radius and norm are the method's.

    `loss`: what is climbed, cross-entropy at the label (ce) or KL(p(x) || p(x')) (kl).
    `start`: uniform in the ball, one_sided (x + epsilon U(0, 1)), gaussian (x + start_std N) or
    zero. `bn_mode`: see `robustrun.compute.modes.attack_mode`.
    """

    loss: Literal["ce", "kl"]
    steps: int
    step_size: float  # pixel units
    start: Literal["uniform", "one_sided", "gaussian", "zero"]
    start_std: float  # pixel units; gaussian start only
    bn_mode: BnMode

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.step_size >= 0, "step_size", self.step_size, "a step >= 0 in pixel units")
        require(self.start_std >= 0, "start_std", self.start_std, ">= 0")
        require(
            self.loss == "ce" or self.start in ("uniform", "one_sided", "gaussian"),
            "start",
            self.start,
            "random when loss is kl: at x itself the gradient of the KL divergence is zero",
        )

    def starting_point(self, x: Tensor, norm: str, epsilon: float) -> Tensor:
        if self.start == "uniform":
            return uniform_start(x, norm, epsilon)
        if self.start == "one_sided":
            return x + epsilon * own_rows(whole_like(x).uniform_())
        if self.start == "gaussian":
            return gaussian_start(x, self.start_std)
        return x

    def objective(self, logits: Logits, x: Tensor, y: Tensor) -> Objective:
        if self.loss == "ce":
            return lambda x_adv: F.cross_entropy(logits(x_adv), y, reduction="sum")
        with torch.no_grad():
            clean = F.log_softmax(logits(x), dim=1)  # once: it is the same at every step
        return lambda x_adv: F.kl_div(
            F.log_softmax(logits(x_adv), dim=1), clean, reduction="sum", log_target=True
        )

    def _network(self, model: nn.Module, x: Tensor) -> Logits:
        """With bfloat16 on a CPU, the model as it is now with batch norms folded away: that takes
        less than the first step saves. In float32 the model itself, so that its bits stay."""
        low = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        return folded(model) if low and self.bn_mode == "eval" and self.steps > 1 else model

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        norm: str,
        epsilon: float,
        logits: Logits | None = None,
        direction: Callable[[Tensor, str], Tensor] = steepest,
        projection: Callable[[Tensor, Tensor, str, float], Tensor] = project,
    ) -> Tensor:
        """Adversarial images for the model as it stands.

        `logits` replaces the model's output in the loss; `direction` and `projection` replace the
        geometry of `ascend`, for methods whose authors step otherwise.
        """
        with attack_mode(model, self.bn_mode):
            return ascend(
                self.objective(logits or self._network(model, x), x, y),
                x,
                self.starting_point(x, norm, epsilon),
                norm=norm,
                epsilon=epsilon,
                step_size=self.step_size,
                steps=self.steps,
                direction=direction,
                projection=projection,
            )
