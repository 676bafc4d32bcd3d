"""FMN: the smallest perturbation, by steps in a ball that shrinks and grows (Pintor et al. 2021,
https://arxiv.org/abs/2102.12827).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import (
    TINY,
    check_threat_model,
    length,
    per_example,
    same_at_radius,
    steepest,
)
from robustrun.attacks.search.active import GRADIENT_STEPS, OpenRows
from robustrun.attacks.search.ascent import input_gradient
from robustrun.attacks.search.cascade import run_until_fooled
from robustrun.attacks.search.nearest import Nearest, nearest_of_all
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import predicted
from robustrun.errors import require
from robustrun.losses import margin
from robustrun.types import ATTACKS

DUAL = {"linf": "l1", "l2": "l2"}


@ATTACKS.register("fmn")
@dataclass(frozen=True)
class FMN:
    """Climbs the margin inside a ball of its own for each image.

    Until an image first fools the model, its ball reaches to the boundary as it looks from here,
    and by the share gamma beyond, and it never shrinks (the authors' ends on the boundary, and may
    never meet it); then it shrinks by gamma whenever the model is fooled, and grows by gamma
    whenever it is not. A step is alpha along the gradient of unit l2 length. Both fall along a
    cosine.
    `minimal_distances` gives the accuracy at every radius from one run. As an attack, an image is
    done, and leaves the batch, once it fools the model at no more than `epsilon`.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # pixel units
    steps: int
    alpha: float  # the first step's l2 length, pixel units
    alpha_final: float
    gamma: float  # share by which a ball shrinks or grows at first
    gamma_final: float

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.norm in DUAL, "norm", self.norm, "linf or l2")
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.alpha > 0, "alpha", self.alpha, "a length above 0 in pixel units")
        final = 0 <= self.alpha_final <= self.alpha
        require(final, "alpha_final", self.alpha_final, "0 to alpha")
        require(0 < self.gamma < 1, "gamma", self.gamma, "between 0 and 1")
        require(0 <= self.gamma_final <= self.gamma, "gamma_final", self.gamma_final, "0 to gamma")

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        def run(left: Tensor) -> Tensor:
            return self._search(model, x[left], y[left], self.epsilon).within(self.epsilon)

        with attack_mode(model):
            return run_until_fooled(model, x, y, [run])

    def minimal_distances(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(images, their distances, float64 of shape N), as near as they are found, whatever
        `epsilon` is: 0 for what is wrong already, infinite where nothing was found."""
        with attack_mode(model):
            return nearest_of_all(self._search, model, x, y)

    def _search(self, model: nn.Module, x: Tensor, y: Tensor, enough: float) -> Nearest:
        """Images leave once they fool the model at no more than `enough`."""
        nearest = Nearest.of(x, self.norm)
        left = OpenRows(x, GRADIENT_STEPS)
        point, radius = x, torch.zeros_like(nearest.distance)
        for step in range(self.steps + 1):
            point = point.detach().requires_grad_(step < self.steps)
            logits = model(point)
            fooled, rows = predicted(logits.detach()) != y, left.rows
            nearest.offer(rows, point, fooled & left.open)
            kept = left.close(nearest.distance[rows] <= enough)
            if step == self.steps or left.empty:
                break
            height = margin(logits, y)
            slope = input_gradient(height.sum(), point)
            slope = slope.where(per_example(height.isfinite(), slope), 0.0)  # no answer: back to x
            alpha, gamma = self._pace(step)
            delta, best = point.detach() - x, nearest.distance[rows]
            to_boundary = length(delta, self.norm).flatten() + self._to_boundary(height, slope)
            radius = _resized(radius, gamma, fooled, best, to_boundary.double())
            delta = self._into(delta + alpha * steepest(slope, "l2"), radius)
            point, radius, x, y = (
                each[kept] for each in ((x + delta).clamp(0.0, 1.0), radius, x, y)
            )
        return nearest

    def _pace(self, step: int) -> tuple[float, float]:
        """(alpha, gamma) at this step."""
        share = (1 + math.cos(math.pi * step / self.steps)) / 2
        return (
            self.alpha_final + (self.alpha - self.alpha_final) * share,
            self.gamma_final + (self.gamma - self.gamma_final) * share,
        )

    def _to_boundary(self, height: Tensor, slope: Tensor) -> Tensor:
        """How far the boundary would be if the model were linear."""
        return height.detach().abs() / length(slope, DUAL[self.norm]).flatten().clamp_min(TINY)

    def _into(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Each perturbation into the ball of its own radius."""
        reach = per_example(radius.to(delta.dtype), delta)
        if self.norm == "linf":
            return torch.minimum(torch.maximum(delta, -reach), reach)
        return delta * (reach / length(delta, "l2").clamp_min(TINY)).clamp_max(1.0)

    with_radius = same_at_radius


def _resized(
    radius: Tensor, gamma: float, fooled: Tensor, best: Tensor, to_boundary: Tensor
) -> Tensor:
    """The next radii: smaller where the model is fooled, otherwise larger; `best` are the smallest
    distances so far (infinite: none), `to_boundary` how far the boundary seems to be."""
    # Where the model is linear, `to_boundary` is exact and the boundary is never crossed; and where
    # the image box cuts steps short, the ball has to grow nevertheless.
    base = torch.where(torch.isfinite(best), radius, torch.maximum(radius, to_boundary))
    smaller = torch.minimum(radius * (1 - gamma), best)
    return torch.where(fooled, smaller, base * (1 + gamma))
