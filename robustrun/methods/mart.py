"""MART (Wang et al. 2020, https://openreview.net/forum?id=rklOg6EFwS): weighs the consistency of
an example by how little the network believes its label."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from robustrun.attacks.geometry.ball import check_threat_model
from robustrun.errors import require
from robustrun.methods.inner import Inner
from robustrun.types import METHODS, Learner

# The authors' constants, which keep logarithms finite and weights above zero.
TINY = 1e-12
ABOVE_ONE_MARGIN = 1.0001
ABOVE_ONE_WEIGHT = 1.0000001


@METHODS.register("mart")
@dataclass(frozen=True)
class MART:
    """L = BCE(p(x'), y) + beta * mean(KL(p(x) || p(x')) * (1 - p_y(x))).

    BCE is the cross-entropy at y plus -log(1 - p_k(x')) for k, the likeliest wrong class under x'.
    The gradient flows through p(x), also where it is the weight. MART's gap between PGD and
    AutoAttack is the largest of its family: do not judge it by PGD alone.
    """

    beta: float  # weight of the consistency term
    norm: Literal["linf", "l2"]
    epsilon: float  # radius in training, pixel units
    inner: Inner

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.beta >= 0, "beta", self.beta, ">= 0")

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        return self.inner(learner.model, x, y, norm=self.norm, epsilon=self.epsilon)

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        clean, adversarial = learner.model(x).softmax(dim=1), learner.model(x_adv)
        boosted = learner.cross_entropy(adversarial, y) + runner_up_penalty(adversarial, y)
        return boosted + self.beta * self._consistency(clean, adversarial.softmax(dim=1), y)

    def _consistency(self, clean: Tensor, adversarial: Tensor, y: Tensor) -> Tensor:
        divergence = F.kl_div((adversarial + TINY).log(), clean, reduction="none").sum(dim=1)
        believed = clean.gather(1, y[:, None]).squeeze(1)
        return (divergence * (ABOVE_ONE_WEIGHT - believed)).mean()


def runner_up_penalty(logits: Tensor, y: Tensor) -> Tensor:
    """Mean of -log(1 - p_k), k the likeliest wrong class: what BCE adds to the cross-entropy."""
    wrong = logits.detach().scatter(1, y[:, None], -torch.inf).argmax(dim=1)
    others = (ABOVE_ONE_MARGIN - logits.softmax(dim=1) + TINY).log()
    return F.nll_loss(others, wrong)
