"""Projected gradient ascent in which images leave the batch once they fool the model: the search of
PGD, MI-FGSM and MultiTargeted (Madry et al. 2018, https://arxiv.org/abs/1706.06083).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import TINY, length, project, steepest
from robustrun.attacks.search.active import GRADIENT_STEPS, ActiveImages, Kept
from robustrun.attacks.search.ascent import input_gradient
from robustrun.compute.predictions import predicted

Loss = Callable[[Tensor, Tensor], Tensor]  # logits, their rows of the batch -> sum over the rows


class Momentum:
    """g <- decay * g + gradient / ||gradient||_1 for each image (Dong et al. 2018,
    https://arxiv.org/abs/1710.06081)."""

    def __init__(self, x: Tensor, decay: float) -> None:
        self.velocity, self.decay = torch.zeros_like(x), decay

    def add(self, slope: Tensor) -> Tensor:
        normalised = slope / length(slope, "l1").clamp_min(TINY)
        self.velocity = self.decay * self.velocity + normalised
        return self.velocity

    def keep(self, kept: Kept) -> None:
        self.velocity = self.velocity[kept]


def climb(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    start: Tensor,
    loss: Loss,
    *,
    norm: str,
    epsilon: float,
    step_size: Callable[[int], float],  # of each step, pixel units
    steps: int,
    image: Tensor | None = None,
    momentum: Momentum | None = None,
) -> tuple[Tensor, Tensor]:
    """(the first iterate of each row that fools the model, or the last one; which of them fool it).

    `start` counts as an iterate. `image` says which image each row is, where one image has several
    rows: all of them leave once one fools the model. `momentum`, if given, accumulates gradients.
    """
    active, point = ActiveImages(start, GRADIENT_STEPS, image), start
    for step in range(steps + 1):
        point = point.detach().requires_grad_(step < steps)
        logits, rows = model(point), active.rows
        kept = active.leave(predicted(logits.detach()) != y[rows], point)
        if step == steps or active.empty:
            active.store(point[kept])
            break
        slope = input_gradient(loss(logits, rows), point)
        if momentum is not None:
            slope = momentum.add(slope)
            momentum.keep(kept)
        x = x[kept]
        moved = steepest(slope[kept], norm).mul_(step_size(step)).add_(point.detach()[kept])
        point = project(moved, x, norm, epsilon)
    return active.images, active.fooled
