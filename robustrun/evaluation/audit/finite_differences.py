"""Attack by finite differences: what a slope over a neighbourhood finds, and one at a point not."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import length, per_example
from robustrun.attacks.pgd import PGD
from robustrun.evaluation.audit.settings import Differences
from robustrun.evaluation.audit.target import AuditTarget, compare_attack, craft_with
from robustrun.evaluation.findings import Check


def finite_differences(s: AuditTarget) -> Check:
    """BPDA without knowing the layer: the backward pass sees the network smoothed."""
    d, epsilon = s.settings.differences, s.attack.epsilon
    climb = PGD(s.norm, epsilon, d.steps, epsilon / 4, 1, False, "margin")
    return compare_attack(
        s,
        "finite_differences",
        craft_with(climb, Smoothed(s.model, d, s.attack.norm, epsilon)),
        "Following finite differences instead of gradients",
        "the gradient at a point does not tell how the network changes around it (steps, kinks, "
        "layers that mask it). Attack a smooth stand-in for that layer (BPDA), or use Square.",
        first=d.examples,
        shared=False,  # its directions come from the global generator
    )


class Smoothed(nn.Module):
    """The network's own logits, with a gradient from finite differences over random directions."""

    def __init__(self, model: nn.Module, how: Differences, norm: str, epsilon: float) -> None:
        super().__init__()
        self.model, self.how, self.norm = model, how, norm
        self.radius = how.reach * epsilon

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = _Differences.apply(x, self)
        return logits

    @torch.no_grad()
    def pull_back(self, x: Tensor, slope: Tensor) -> Tensor:
        """Gradient with respect to `x`, given the one with respect to the logits."""
        total = torch.zeros_like(x)
        for _ in range(self.how.samples):
            step = self._step(x)
            change = self.model((x + step).clamp(0, 1)) - self.model((x - step).clamp(0, 1))
            change = change.where(change.isfinite(), 0.0)  # no answer on either side
            total += per_example((change * slope).sum(dim=1), x) * step
        return total

    def _step(self, x: Tensor) -> Tensor:
        cells = min(self.how.cells, *x.shape[2:])
        signs = torch.randint(0, 2, (*x.shape[:2], cells, cells), device=x.device) * 2.0 - 1.0
        step = F.interpolate(signs.to(x.dtype), size=x.shape[2:])
        return self.radius * step / length(step, self.norm)


class _Differences(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, smoothed: Smoothed) -> Tensor:
        ctx.save_for_backward(x)
        ctx.smoothed = smoothed
        logits: Tensor = smoothed.model(x)
        return logits

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return ctx.smoothed.pull_back(*ctx.saved_tensors, slope), None
