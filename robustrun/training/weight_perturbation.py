"""Adversarial weight perturbation around any method's loss (AWP, Wu et al. 2020,
https://arxiv.org/abs/2004.05884, algorithm 1)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustrun.compute import processes
from robustrun.compute.batch_parts import weighted
from robustrun.compute.modes import statistics_kept

TINY = 1e-20  # the authors', for a gradient of zero

Deltas = list[tuple[nn.Parameter, Tensor]]


@dataclass(frozen=True)
class WeightPerturbation:
    """The gradient of the loss at w + d, applied to w.

    For every weight with more than one dimension, d = size * ||w|| / ||g|| * g with g the gradient
    of the loss on this batch: the direction in which it grows. The authors find d by one SGD step
    of a copy of the network; the copy's learning rate cancels out, so here the gradient is taken
    from the network itself, with its running statistics held. They undo d after the optimizer's
    step instead of before, which differs only by the weight decay of d, and would put d into a
    weight average.
    """

    size: float  # ||d|| as a share of ||w||, gamma in the paper
    warmup: float  # share of the run without perturbation

    @contextmanager
    def applied(
        self, model: nn.Module, loss: Callable[[], Tensor], progress: float
    ) -> Iterator[None]:
        """In this context each weight of `model` is w + d, from this share of the run on."""
        deltas: Deltas = []
        if progress >= self.warmup:
            with statistics_kept(model):
                deltas = self.deltas(model, loss())
        with moved(deltas):
            yield

    def deltas(self, model: nn.Module, loss: Tensor) -> Deltas:
        """d for every weight that takes part in the loss."""
        weights = [
            p
            for name, p in model.named_parameters()
            if "weight" in name and p.dim() > 1 and p.requires_grad
        ]
        slopes = torch.autograd.grad(weighted(loss), weights, allow_unused=True)
        processes.sum_flat(g for g in slopes if g is not None)
        return [
            (w, self.size * w.detach().norm() / (g.norm() + TINY) * g)
            for w, g in zip(weights, slopes, strict=True)
            if g is not None
        ]


@contextmanager
def moved(deltas: Deltas) -> Iterator[None]:
    """In this context each weight is w + d; afterwards it is exactly what it was."""
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
