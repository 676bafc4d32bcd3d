"""TRADES (Zhang et al. 2019, https://arxiv.org/abs/1901.08573, equation 5 and algorithm 1)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from robustrun.attacks.geometry.ball import TINY, check_threat_model, l2_norm, project, steepest
from robustrun.compute.batch_parts import own_rows, whole_like
from robustrun.errors import require
from robustrun.losses import kl_divergence
from robustrun.methods.batch_norm import passage
from robustrun.methods.inner import Inner
from robustrun.types import METHODS, Learner


@METHODS.register("trades")
@dataclass(frozen=True)
class TRADES:
    """L = CE(f(x), y) + beta * (1/B) * sum KL(p(x) || p(x')).

    x' climbs the same KL divergence from x + start_std * N(0, 1), in eval mode. In the outer loss
    the gradient flows through both p(x) and p(x'). Batch norm sees three passes: clean,
    adversarial and clean images, or, in the code of TRADES-AWP, adversarial, clean and clean.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = {"first_pass": "clean"}

    beta: float  # weight of the robust term, 1/lambda in the paper
    norm: Literal["linf", "l2"]
    epsilon: float  # radius in training, pixel units
    inner: Inner
    first_pass: Literal["clean", "adversarial"]

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.beta >= 0, "beta", self.beta, ">= 0")

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        exact_l2 = self.norm == "l2"
        return self.inner(
            learner.model,
            x,
            y,
            norm=self.norm,
            epsilon=self.epsilon,
            direction=steepest_or_random if exact_l2 else steepest,
            projection=box_then_ball if exact_l2 else project,
        )

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        model = learner.model
        first = model(x_adv) if self.first_pass == "adversarial" else None
        with passage(model) as clean_pass:
            clean = model(x)
        adversarial = model(x_adv) if first is None else first
        loss = learner.cross_entropy(clean, y) + self.beta * kl_divergence(clean, adversarial)
        clean_pass.again()  # the authors run f(x) twice
        return loss


def steepest_or_random(gradient: Tensor, norm: str) -> Tensor:
    """The normalised l2 gradient; where it is zero, normal noise, as the authors have it."""
    lost = l2_norm(gradient) == 0
    noise = own_rows(whole_like(gradient).normal_())
    return torch.where(lost, noise, steepest(gradient, norm))


def box_then_ball(x_adv: Tensor, x: Tensor, norm: str, epsilon: float) -> Tensor:
    """First the image box, then the l2 ball: the authors' order, for l2 only."""
    delta = x_adv.clamp(0.0, 1.0) - x
    return x + delta * (epsilon / l2_norm(delta).clamp_min(TINY)).clamp_max(1.0)
