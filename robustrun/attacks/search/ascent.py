"""Projected ascent on the input, once for all attacks and inner loops
(Madry et al., https://arxiv.org/abs/1706.06083, section 2.1).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from robustrun.attacks.geometry.ball import around, project, steepest
from robustrun.errors import DataError

Objective = Callable[[Tensor], Tensor]  # images -> scalar, a sum over the batch


def input_gradient(value: Tensor, x: Tensor, keep_graph: bool = False) -> Tensor:
    """Gradient of the scalar `value` with respect to `x` alone; DataError where none flows back."""
    if value.requires_grad:
        (slope,) = torch.autograd.grad(value, x, retain_graph=keep_graph, allow_unused=True)
        if slope is not None:
            return slope
    raise DataError(
        "No gradient comes back from the network's logits to the image, and this attack follows "
        "one: measure with attack=square, which needs none."
    )


def gradient(objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
    """(gradient with respect to `x` alone, value); no parameter collects a gradient."""
    x = x.detach().requires_grad_()
    value = objective(x)
    return input_gradient(value, x), value.detach()


def ascend(
    objective: Objective,
    x: Tensor,
    start: Tensor,
    *,
    norm: str,
    epsilon: float,
    step_size: float,
    steps: int,
    direction: Callable[[Tensor, str], Tensor] = steepest,
    projection: Callable[[Tensor, Tensor, str, float], Tensor] = project,
) -> Tensor:
    """`steps` times: a step of `step_size` in the steepest direction, then into ball and box."""
    x_adv, inside = start, around(x, norm, epsilon)
    if projection is not project:
        inside = lambda point: projection(point, x, norm, epsilon)  # noqa: E731
    for _ in range(steps):
        slope, _ = gradient(objective, x_adv)
        x_adv = inside(x_adv.add(direction(slope, norm), alpha=step_size))
    return x_adv.detach()
