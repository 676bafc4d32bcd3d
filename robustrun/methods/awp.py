"""Adversarial weight perturbation around any min-max method (Wu et al. 2020,
https://arxiv.org/abs/2004.05884, algorithm 1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robustrun.compute.modes import statistics_kept
from robustrun.errors import ConfigError, require
from robustrun.types import METHODS, Adapts, Learner, Method, MinMax

TINY = 1e-20  # the authors', for a gradient of zero

Deltas = list[tuple[nn.Parameter, Tensor]]


@runtime_checkable
class AfterUpdate(Protocol):
    """A base method that still does something once its batch is learned."""

    def after_update(self, model: nn.Module, x: Tensor) -> None: ...


@METHODS.register("awp")
@dataclass(frozen=True)
class AWP:
    """The gradient of the base method's loss at w + d, applied to w.

    For every weight with more than one dimension, d = gamma * ||w|| / ||g|| * g with g the
    gradient of the base method's loss on this batch: the direction in which it grows. The authors
    find d by one SGD step of a copy of the network; the copy's learning rate cancels out, so here
    the gradient is taken from the network itself, with its running statistics held. They undo d
    after the optimizer's step instead of before, which differs only by the weight decay of d, and
    would put d into a weight average.
    """

    base: Method
    gamma: float  # ||d|| as a share of ||w||
    warmup: float  # share of the run without perturbation

    def __post_init__(self) -> None:
        if not isinstance(self.base, MinMax):
            raise ConfigError(
                f"base.name is a method ({type(self.base).__name__}) that does not come in two "
                "halves, perturb and loss, so that AWP cannot come between them."
            )
        require(self.gamma >= 0, "gamma", self.gamma, ">= 0")
        require(0 <= self.warmup <= 1, "warmup", self.warmup, "a share of the run, in [0, 1]")

    def adapt(self, model: nn.Module, class_counts: Tensor) -> nn.Module:
        return self.base.adapt(model, class_counts) if isinstance(self.base, Adapts) else model

    def step(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        base, model = self.base, learner.model
        assert isinstance(base, MinMax)
        x_adv = base.perturb(model, x, y)
        deltas: Deltas = []
        if learner.progress >= self.warmup:
            with statistics_kept(model):
                deltas = self.perturbation(model, base.loss(model, x, x_adv, y))
        with moved(deltas):
            loss = base.loss(model, x, x_adv, y)
            learner.backward(loss)
        learner.apply()
        if isinstance(base, AfterUpdate):
            base.after_update(model, x)
        return loss

    def perturbation(self, model: nn.Module, loss: Tensor) -> Deltas:
        """d for every weight that takes part in the loss."""
        weights = [
            p
            for name, p in model.named_parameters()
            if "weight" in name and p.dim() > 1 and p.requires_grad
        ]
        slopes = torch.autograd.grad(loss, weights, allow_unused=True)
        return [
            (w, self.gamma * w.detach().norm() / (g.norm() + TINY) * g)
            for w, g in zip(weights, slopes, strict=True)
            if g is not None
        ]


@contextmanager
def moved(deltas: Deltas) -> Iterator[None]:
    """While it is open, each weight is w + d; afterwards it is exactly what it was."""
    with torch.no_grad():
        before = [w.clone() for w, _ in deltas]
        for w, d in deltas:
            w.add_(d)
    try:
        yield
    finally:
        with torch.no_grad():
            for (w, _), old in zip(deltas, before, strict=True):
                w.copy_(old)
