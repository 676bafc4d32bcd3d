"""Attacks that move the parameters of a transformation of the image, not its pixels: the search
(as Laidlaw et al. set it up, https://arxiv.org/abs/2006.12655, section 6).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustrun.attacks.search.active import GRADIENT_STEPS, ActiveImages
from robustrun.attacks.search.adam import Adam
from robustrun.attacks.search.ascent import input_gradient
from robustrun.compute.predictions import predicted
from robustrun.losses import margin

ROUND = 1e-10  # under the root: the slope of a length stays finite where there is none

Render = Callable[[Tensor, Tensor], Tensor]  # images, displacements -> images in [0, 1]


def roughness(field: Tensor) -> Tensor:
    """How much a field N x D1 x D2 ... x C differs from neighbour to neighbour, shape N.

    The lengths of the differences, summed over all points and the neighbours of each: every pair
    of neighbours counts twice (Xiao et al., https://arxiv.org/abs/1801.02612, equation 4).
    """
    total = torch.zeros_like(field.flatten(1)[:, 0])
    for dimension in range(1, field.dim() - 1):
        lengths = (field.diff(dim=dimension).square().sum(dim=-1) + ROUND).sqrt()
        total = total + 2 * lengths.flatten(1).sum(dim=1)
    return total


def search(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    field: Tensor,
    render: Render,
    *,
    bound: float,
    smoothness: float,
    lr: float,
    steps: int,
) -> Tensor:
    """Adam on margin - smoothness * roughness, every displacement of `field` within `bound`.

    An image leaves the batch, and is kept, as soon as it fools the model; the others are returned
    as they are after the last step.
    """
    active, adam = ActiveImages(x, GRADIENT_STEPS), Adam.of(field, lr)
    for step in range(steps + 1):
        field = field.detach().requires_grad_(step < steps)
        point = render(x, field)
        logits = model(point)
        kept = active.leave(predicted(logits.detach()) != y, point)
        if step == steps or active.empty:
            active.store(point[kept])
            break
        cost = smoothness * roughness(field) - margin(logits, y)
        moved = field.detach() + adam.step(input_gradient(cost.sum(), field))
        x, y, field = x[kept], y[kept], moved.clamp(-bound, bound)[kept]
        adam.keep(kept)
    return active.images
