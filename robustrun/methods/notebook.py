"""The methods of the notebook that this project began with, in its own formulas.

It calls them adversarial training, TRADES, PAT and RoBal, but each is another algorithm than the
paper's of that name: compare `fgsm_at`, `trades`, `pat` and `robal`. All perturb by one sign step
from the clean image, with the network in train mode.
"""

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from robustrun.compute.batch_parts import batch_mean, share, weighted
from robustrun.errors import require
from robustrun.types import METHODS, HasFeatures, Learner

Range = tuple[float, float]


def fgsm(loss: Tensor, x: Tensor, epsilon: float, clamp: Range) -> Tensor:
    """clamp(x + epsilon * sign(grad)), from a loss whose graph is used again afterwards.

    The notebook normalises images to [-1, 1] and then clamps to [0, 1]: in pixels to [0.5, 1].
    Every pixel darker than mid-grey becomes mid-grey, so what it trains on is as a rule not in
    the epsilon-ball around x.
    """
    slope = torch.autograd.grad(weighted(loss), x, retain_graph=True)[0]
    return (x + epsilon * slope.sign()).detach().clamp(*clamp)


def check(epsilon: float, clamp: Range) -> None:
    """The range checks that the notebook's methods share."""
    require(0 <= epsilon < float("inf"), "epsilon", epsilon, "a step >= 0 in pixel units")
    low, high = clamp
    require(0 <= low < high <= 1, "clamp", list(clamp), "two pixel values in [0, 1], in order")


@METHODS.register("notebook_fgsm_at")
@dataclass(frozen=True)
class NotebookFGSMAT:
    """L = CE(f(x), y) during the first `clean_share` of the run, then CE(f(x'), y) alone."""

    smooths_labels: ClassVar[bool] = False

    epsilon: float  # pixel units
    clamp: Range  # pixel values
    clean_share: float  # share of the run on clean images

    def __post_init__(self) -> None:
        check(self.epsilon, self.clamp)
        require(0 <= self.clean_share <= 1, "clean_share", self.clean_share, "in [0, 1]")

    def step(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        loss = F.cross_entropy(learner.model(x), y)
        if learner.progress >= self.clean_share:
            x_adv = fgsm(loss, x, self.epsilon, self.clamp)
            loss = F.cross_entropy(learner.model(x_adv), y)
        learner.update(loss)
        return loss


@METHODS.register("notebook_trades")
@dataclass(frozen=True)
class NotebookTRADES:
    """L = CE(f(x'), y) + beta * (1/B) * sum KL(p(x) || p(x')), p(x) a constant.

    TRADES has the cross-entropy on clean images, the gradient in both arguments of the KL term,
    and an x' that climbs this term.
    """

    smooths_labels: ClassVar[bool] = False

    beta: float
    epsilon: float  # pixel units
    clamp: Range  # pixel values

    def __post_init__(self) -> None:
        check(self.epsilon, self.clamp)
        require(self.beta >= 0, "beta", self.beta, ">= 0")

    def step(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        clean = learner.model(x)
        x_adv = fgsm(F.cross_entropy(clean, y), x, self.epsilon, self.clamp)
        adversarial = learner.model(x_adv)
        divergence = F.kl_div(
            F.log_softmax(adversarial, dim=1),
            F.softmax(clean.detach(), dim=1),
            reduction="batchmean",
        )
        loss = F.cross_entropy(adversarial, y) + self.beta * divergence
        learner.update(loss)
        return loss


@METHODS.register("notebook_pat")
@dataclass(frozen=True)
class NotebookPAT:
    """L = CE(f(x), y) + alpha * mean ||phi(x) - phi(x') + 1e-6||, the norm along image rows.

    phi is the last activation of `with_features`. With the notebook's frozen features the second
    term has no gradient, and training is standard training. Its code also adds the gradient of
    the first term twice (`clean_gradients: 2`), and zeroes the image gradient in place before it
    takes its sign, so that x' is x but for the clamp (`epsilon: 0`): the experiment
    `notebook_pat` sets both.
    """

    smooths_labels: ClassVar[bool] = False

    alpha: float  # weight of the feature distance
    epsilon: float  # pixel units
    clamp: Range  # pixel values
    clean_gradients: int  # how often the gradient of CE(f(x), y) is added

    def __post_init__(self) -> None:
        check(self.epsilon, self.clamp)
        require(self.alpha >= 0, "alpha", self.alpha, ">= 0")
        require(self.clean_gradients >= 1, "clean_gradients", self.clean_gradients, "at least 1")

    def step(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        model = cast(HasFeatures, learner.model)
        x = x.detach().requires_grad_()
        logits, features = model.with_features(x)
        clean = F.cross_entropy(logits, y)
        x_adv = fgsm(clean, x, self.epsilon, self.clamp)
        _, features_adv = model.with_features(x_adv)
        distance = self.alpha * F.pairwise_distance(features[-1], features_adv[-1]).mean()
        learner.update(self.clean_gradients * clean + distance)
        return (clean + distance).detach()


@METHODS.register("notebook_robal")
@dataclass(frozen=True)
class NotebookRoBal:
    """L = CE_w(f(x), y) + CE_w(f(x'), y), with w_i = K / (n_i + 1) / sum_j 1 / (n_j + 1).

    On a balanced data set all weights are 1.
    """

    smooths_labels: ClassVar[bool] = False

    epsilon: float  # pixel units
    clamp: Range  # pixel values

    def __post_init__(self) -> None:
        check(self.epsilon, self.clamp)

    def step(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        rarity = 1 / (learner.class_counts.to(x.dtype) + 1)
        weights = len(rarity) * rarity / rarity.sum()
        x = x.detach().requires_grad_()
        clean = weighted_cross_entropy(learner.model(x), y, weights)
        x_adv = fgsm(clean, x, self.epsilon, self.clamp)
        loss = clean + weighted_cross_entropy(learner.model(x_adv), y, weights)
        learner.update(loss)
        return loss


def weighted_cross_entropy(logits: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """The mean of the cross-entropy over the whole batch, each example with its class's weight."""
    loss = F.cross_entropy(logits, y, weight=weights)
    mine, mean = weights[y].mean(), batch_mean(weights[y].mean())
    return loss if share() == 1.0 else loss * (mine / mean)
