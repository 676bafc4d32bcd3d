"""Projected ascent on the input, once for all attacks and inner loops, and the model's state
while it is attacked (Madry et al., https://arxiv.org/abs/1706.06083, section 2.1).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import around, project, steepest
from robustrun.errors import DataError

BnMode = Literal["eval", "train", "train_frozen"]
Objective = Callable[[Tensor], Tensor]  # images -> scalar, a sum over the batch


@contextmanager
def attacked(model: nn.Module, bn_mode: BnMode = "eval") -> Iterator[None]:
    """Hold `model` in the mode for an attack, its parameters frozen; restore everything after.

    `eval`: running statistics are used. `train`: batch statistics are used and the running ones
    updated at every forward pass. `train_frozen`: batch statistics are used, running ones kept.
    The mode of each module is restored on its own: a model may hold layers of either mode.
    """
    modes = [(m, m.training) for m in model.modules()]
    trainable = [p for p in model.parameters() if p.requires_grad]
    tracking = [
        m
        for m in model.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    model.train(bn_mode != "eval")
    for parameter in trainable:
        parameter.requires_grad_(False)
    if bn_mode == "train_frozen":
        for layer in tracking:
            layer.track_running_stats = False
    try:
        with torch.enable_grad():
            yield
    finally:
        for layer in tracking:
            layer.track_running_stats = True
        for parameter in trainable:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training


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
