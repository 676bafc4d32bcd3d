"""The images that APGD still attacks: what is remembered of each, how they move, and when a step
size changes (Croce & Hein 2020, https://arxiv.org/abs/2003.01690, algorithm 1; for l1: 2021,
https://arxiv.org/abs/2103.01208).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import (
    around,
    per_example,
    project,
    steepest,
    where_rows,
)
from robustrun.attacks.geometry.l1 import sparse_sign, support
from robustrun.attacks.search.active import Kept
from robustrun.attacks.search.apgd_settings import Sparsity
from robustrun.attacks.search.ascent import input_gradient
from robustrun.compute.predictions import predicted

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits, labels, aimed-at classes -> N values


@dataclass
class APGDState:
    """One row for each image that is still attacked, and each of the runs that are done on it
    together."""

    x: Tensor
    y: Tensor
    aim: Tensor  # the class that is aimed at
    point: Tensor
    former: Tensor  # the point before the last step
    slope: Tensor  # gradient of the loss at `point`
    loss: Tensor
    best: Tensor  # the point of the largest loss so far
    best_slope: Tensor
    best_loss: Tensor
    step_size: Tensor
    rises: Tensor  # how many steps raised the loss since the last check
    checked_loss: Tensor  # best loss at the last check
    halved: Tensor  # whether the last check halved the step size
    share: Tensor  # l1: of the pixels, that a step moves
    pixels: Tensor  # l1: changed in the best point, at the last check

    def keep(self, kept: Kept) -> "APGDState":
        """Only these rows."""
        return APGDState(*(getattr(self, field.name)[kept] for field in fields(self)))

    def return_to_best(self, those: Tensor) -> None:
        self.point = where_rows(those, self.best, self.point)
        self.slope = where_rows(those, self.best_slope, self.slope)


def initial_state(x: Tensor, y: Tensor, aim: Tensor, start: Tensor, step_size: float) -> APGDState:
    """All rows, before the first pass through the model."""
    zero, none = torch.zeros_like(x[:, 0, 0, 0]), torch.zeros_like(x)
    lowest = torch.full_like(zero, -torch.inf)
    return APGDState(
        x=x,
        y=y,
        aim=aim,
        point=start,
        former=start,
        slope=none,
        loss=zero,
        best=start,
        best_slope=none,
        best_loss=lowest,
        step_size=torch.full_like(zero, step_size),
        rises=zero,
        checked_loss=lowest,
        halved=torch.ones_like(y, dtype=torch.bool),
        share=zero,
        pixels=zero,
    )


def evaluate_point(s: APGDState, model: nn.Module, loss: Loss, passes: int) -> Tensor:
    """Gradient (the mean over `passes`), loss and verdict (of the last pass) at `s.point`.

    Returns which images fool the model, and remembers the best point.
    """
    for number in range(passes):
        point = s.point.detach().requires_grad_()
        logits = model(point)
        values = loss(logits, s.y, s.aim)
        slope = input_gradient(values.sum(), point)
        s.slope = slope if number == 0 else s.slope + slope
    if passes > 1:
        s.slope = s.slope / passes
    values = values.detach()
    better = values > s.best_loss
    s.best = where_rows(better, s.point, s.best)
    s.best_slope = where_rows(better, s.slope, s.best_slope)
    s.best_loss = torch.where(better, values, s.best_loss)
    s.loss = values
    fooled: Tensor = predicted(logits.detach()) != s.y
    return fooled


def step_with_momentum(s: APGDState, norm: str, epsilon: float, momentum: float) -> None:
    """A step uphill times `momentum`, and the step before times 1 - `momentum`."""
    inside, point = around(s.x, norm, epsilon), s.point
    aim = inside(steepest(s.slope, norm).mul_(per_example(s.step_size, point)).add_(point))
    before = (point - s.former).mul_(1.0 - momentum)
    moved = aim.sub_(point).mul_(momentum).add_(point).add_(before)
    s.former, s.point = point, inside(moved)


def step_sparsely(s: APGDState, epsilon: float) -> None:
    """l1: a step along the pixels with the largest gradients, all by as much."""
    step = per_example(s.step_size, s.point) * sparse_sign(s.slope, s.share)
    s.former, s.point = s.point, project(s.point + step, s.x, "l1", epsilon)


def halve_step_size(s: APGDState, period: int, rho: float) -> None:
    """Halve the step and return to the best point where too few steps of the period raised the
    loss, or where its best has not changed although the step was not halved the last time."""
    few = s.rises <= rho * period
    idle = ~s.halved & (s.checked_loss >= s.best_loss)
    s.halved = few | idle
    s.step_size = torch.where(s.halved, s.step_size / 2, s.step_size)
    s.return_to_best(s.halved)
    s.checked_loss, s.rises = s.best_loss, torch.zeros_like(s.rises)


def update_sparsity(s: APGDState, sparsity: Sparsity, largest_step: float) -> None:
    """l1: as many pixels as the best point has changed, over a divisor; a smaller step, or, where
    that number has become much smaller, the first step size again, from the best point."""
    pixels = support(s.best - s.x)
    fewer = pixels / s.pixels < sparsity.stable
    smaller = (s.step_size / sparsity.step_divisor).clamp_min(sparsity.smallest_step * largest_step)
    s.step_size = torch.where(fewer, torch.full_like(smaller, largest_step), smaller)
    s.return_to_best(fewer)
    s.pixels, s.share = pixels, pixels / s.x[0].numel() / sparsity.divisor
