"""Attacks one after another, each on the images that the model still gets right."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from robustrun.attacks.ball import per_example
from robustrun.losses import margin

Run = Callable[[Tensor], Tensor]  # indices of images -> these images attacked, or as they were


def still_right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The verdict on exactly these images, bool of shape N."""
    with torch.no_grad():
        right: Tensor = model(x).argmax(dim=1) == y
    return right


def cascade(model: nn.Module, x: Tensor, y: Tensor, runs: Iterable[Run]) -> Tensor:
    """Images after all `runs`; what is wrong from the start, or once fooled, is left alone.

    Of an image that no run turns, the one of the largest margin is returned: nearest to a mistake.
    """
    x_adv = x.clone()
    if len(x) == 0:
        return x_adv
    right, highest = verdict(model, x, y)
    left = right.nonzero()[:, 0]
    for run in runs if len(left) else ():
        tried = run(left)
        right, height = verdict(model, tried, y[left])
        better = ~right | (height > highest[left])
        x_adv[left] = torch.where(per_example(better, x), tried, x_adv[left])
        highest[left] = torch.maximum(height, highest[left])
        left = left[right]
        if len(left) == 0:
            break
    return x_adv


def verdict(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(whether each image is classified right, its margin: largest wrong minus right logit)."""
    with torch.no_grad():
        logits = model(x)
    return logits.argmax(dim=1) == y, margin(logits, y)


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
