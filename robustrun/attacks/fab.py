"""FAB: the smallest perturbation that changes the decision (Croce & Hein 2020,
https://arxiv.org/abs/1907.02044).
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import (
    TINY,
    Norm,
    check_threat_model,
    distance,
    length,
    same_at_radius,
    sphere_start,
    where_rows,
)
from robustrun.attacks.geometry.hyperplane import to_hyperplane
from robustrun.attacks.search.active import GRADIENT_STEPS, ActiveImages
from robustrun.attacks.search.ascent import input_gradient
from robustrun.attacks.search.cascade import (
    Rows,
    run_batched_until_fooled,
    still_correct,
)
from robustrun.attacks.search.targets import settings_for, top_wrong_classes
from robustrun.compute.modes import attack_mode
from robustrun.compute.threads import map_rows
from robustrun.errors import require
from robustrun.types import ATTACKS

DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}
SHORTEST = 1e-8  # the least length of a step when two are compared: both may be zero


@ATTACKS.register("fab")
@dataclass(frozen=True)
class FAB:
    """Steps to the decision boundary as it looks from here, drawn towards the clean image.

    Without `targets` the boundary is that of the nearest class (K - 1 gradients a step), with
    them that of each of the likeliest wrong classes in turn (one gradient). An image is done, and
    leaves the batch, once it fools the model at no more than `epsilon` from the clean one. The
    first run towards a class starts at the clean image; restarts draw a start for the images left.
    """

    norm: Norm
    epsilon: float  # pixel units
    targets: int  # wrong classes to aim at; 0: the nearest
    steps: int  # for each restart and target
    restarts: int
    alpha_max: float  # largest share of the step from the clean image
    eta: float  # overshoot: multiple of the way to the boundary
    beta: float  # share of the perturbation that is kept once the model is fooled

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True
    low_precision: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.restarts >= 1, "restarts", self.restarts, "at least 1")
        require(self.targets >= 0, "targets", self.targets, ">= 0")
        require(0 <= self.alpha_max <= 1, "alpha_max", self.alpha_max, "0 to 1")
        require(self.eta >= 1, "eta", self.eta, "at least 1")
        require(0 < self.beta <= 1, "beta", self.beta, "above 0, up to 1")

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        generator: torch.Generator | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        with attack_mode(model):
            plan = partial(self._plan, model, x, y, generator)
            return run_batched_until_fooled(model, x, y, plan, batch_size)

    def _plan(
        self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator | None
    ) -> tuple[int, Rows]:
        """(the number of runs, one for each target and restart; the function that does them)."""
        aims = top_wrong_classes(model, x, y, self.targets) if self.targets else y[:, None]
        runs = aims.shape[1] * self.restarts
        return runs, partial(self._run, model, x, y, aims, generator)

    def _run(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        aims: Tensor,
        generator: torch.Generator | None,
        left: Tensor,
        run: Tensor,
    ) -> Tensor:
        x, y, aim = x[left], y[left], aims[left, run // self.restarts]
        active = ActiveImages(x, GRADIENT_STEPS, left)
        point = self._start(x, run % self.restarts > 0, generator)
        for _ in range(self.steps):
            point = self._step(model, point, x, y, aim)
            fooled = ~still_correct(model, point, y)
            done = fooled & (distance(point, x, self.norm) <= self.epsilon)
            kept = active.leave(done, point)
            point, x, y, aim, fooled = (each[kept] for each in (point, x, y, aim, fooled))
            if active.empty:
                break
            point = where_rows(fooled, x + self.beta * (point - x), point)
        return active.images

    def _start(self, x: Tensor, at_random: Tensor, generator: torch.Generator | None) -> Tensor:
        """The clean images, or random points nearby."""
        if not bool(at_random.any()):
            return x
        drawn = sphere_start(x, self.norm, self.epsilon / 2, generator)
        return where_rows(at_random, drawn, x)

    def _step(self, model: nn.Module, point: Tensor, x: Tensor, y: Tensor, aim: Tensor) -> Tensor:
        """Towards the boundary from `point` and, by a share of at most alpha_max, from `x`."""
        gap, slope = self._boundary(model, point, y, aim)
        return map_rows(self._towards, point, x, gap, slope)

    def _towards(self, point: Tensor, x: Tensor, gap: Tensor, slope: Tensor) -> Tensor:
        gap_at_x = gap + (slope * (x - point)).flatten(1).sum(dim=1)
        from_point, from_x = to_hyperplane(
            torch.stack([point, x]).flatten(2),
            slope.flatten(1),
            torch.stack([gap, gap_at_x]),
            self.norm,
        ).view(2, *x.shape)
        near = length(from_point, self.norm).clamp_min(SHORTEST)
        far = length(from_x, self.norm).clamp_min(SHORTEST)
        alpha = (near / (near + far)).clamp_max(self.alpha_max)
        beyond, beyond_from_x = point + self.eta * from_point, x + self.eta * from_x
        return torch.lerp(beyond, beyond_from_x, alpha).clamp(0.0, 1.0)

    def _boundary(
        self, model: nn.Module, point: Tensor, y: Tensor, aim: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(wrong minus right logit, its gradient) for the class aimed at, or the nearest one."""
        point = point.detach().requires_grad_()
        logits = model(point)
        gaps = logits - logits.gather(1, y[:, None])
        if self.targets:
            gap = gaps.gather(1, aim[:, None]).squeeze(1)
            return gap.detach(), input_gradient(gap.sum(), point)
        return self._nearest(gaps, point, y)

    def _nearest(self, gaps: Tensor, point: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(gap, gradient) of the class whose linear boundary is nearest, one class at a time."""
        gap, slope = torch.zeros_like(gaps[:, 0]), torch.zeros_like(point)
        nearest = torch.full_like(gap, torch.inf)
        for label in range(gaps.shape[1]):
            its_slope = input_gradient(gaps[:, label].sum(), point, keep_graph=True)
            its_gap = gaps[:, label].detach()
            far = its_gap.abs() / (length(its_slope, DUAL[self.norm]).flatten() + TINY)
            closer = (far < nearest) & (y != label)
            gap = torch.where(closer, its_gap, gap)
            slope = where_rows(closer, its_slope, slope)
            nearest = torch.where(closer, far, nearest)
        return gap.detach(), slope.detach()

    with_radius = same_at_radius

    effective_settings = settings_for
