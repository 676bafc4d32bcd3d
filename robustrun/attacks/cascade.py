"""Attacks one after another, each on the images that the model still gets right."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

Run = Callable[[Tensor], Tensor]  # indices of images -> these images attacked, or as they were


def still_right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The verdict on exactly these images, bool of shape N."""
    with torch.no_grad():
        right: Tensor = model(x).argmax(dim=1) == y
    return right


def cascade(model: nn.Module, x: Tensor, y: Tensor, runs: Iterable[Run]) -> Tensor:
    """Images after all `runs`; what is wrong from the start, or once fooled, is left alone.

    An image that a run changed is kept even where the verdict, taken again on what was returned,
    still finds it right (rounding, or a model with noise): it is attacked on all the same.
    """
    x_adv = x.clone()
    left = torch.arange(len(x), device=x.device)
    if len(left) > 0:
        left = left[still_right(model, x, y)]
    if len(left) == 0:
        return x_adv
    for run in runs:
        tried = run(left)
        changed = (tried != x[left]).flatten(1).any(dim=1)
        x_adv[left[changed]] = tried[changed]
        left = left[still_right(model, tried, y[left])]
        if len(left) == 0:
            break
    return x_adv


def likeliest_wrong(model: nn.Module, x: Tensor, y: Tensor, count: int) -> Tensor:
    """Up to `count` wrong classes of each image, likeliest first, N x min(count, K - 1)."""
    with torch.no_grad():
        logits = model(x)
    wrong = logits.scatter(1, y[:, None], -torch.inf)
    targets: Tensor = wrong.topk(min(count, logits.shape[1] - 1), dim=1).indices
    return targets


def input_gradient(value: Tensor, x: Tensor, keep_graph: bool = False) -> Tensor:
    """Gradient of the scalar `value` with respect to `x` alone; zero where none flows back."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    (slope,) = torch.autograd.grad(value, x, retain_graph=keep_graph, allow_unused=True)
    return torch.zeros_like(x) if slope is None else slope
