"""The LPIPS ball around an image: the way back into it, and proof that an image lies in it
(Laidlaw et al. 2021, https://arxiv.org/abs/2006.12655, appendix A.4).
"""

import torch
from torch import Tensor

from robustrun.attacks.geometry.ball import TINY, per_example
from robustrun.attacks.perceptual.lpips import PerceptualModel, lpips_distance

NEWTON_STEPS = 10
BISECTIONS = 10
OVERSHOOT = 0.1  # LPIPS units beyond the surface, and again as a share of the step
ROUNDING = 2e-3  # what TF32 on a GPU makes of the same image in batches of another size


def project_lpips(
    perception: PerceptualModel, x_adv: Tensor, x: Tensor, clean: Tensor, bound: float
) -> Tensor:
    """Images within `bound` of `x` and in the image box; `clean` are the features of `x`.

    Newton steps on the distance; an image that they do not bring inside goes back along the
    straight line to `x`. Images that are inside already stay as they are.
    """
    result = x_adv.clamp(0.0, 1.0)
    outside = torch.arange(len(x), device=x.device)
    for _ in range(NEWTON_STEPS):
        distance, slope = _distance_and_slope(perception, result[outside], clean[outside])
        far = distance > bound
        outside, distance, slope = outside[far], distance[far], slope[far]
        if len(outside) == 0:
            return result
        length = (distance - bound + OVERSHOOT) * (1 + OVERSHOOT)
        steepness = slope.flatten(1).square().sum(dim=1).clamp_min(TINY)
        result[outside] = (result[outside] - per_example(length / steepness, x) * slope).clamp(0, 1)
    far = _distances(perception, result[outside], clean[outside]) > bound
    back = outside[far]
    if len(back):
        result[back] = bisect(perception, x_adv[back].clamp(0, 1), x[back], clean[back], bound)
    return result


@torch.no_grad()
def bisect(
    perception: PerceptualModel, x_adv: Tensor, x: Tensor, clean: Tensor, bound: float
) -> Tensor:
    """The farthest point found in the ball on the line from `x` (which is in it) to `x_adv`."""
    inside, outside = x.new_zeros(len(x)), x.new_ones(len(x))
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        point = x + per_example(middle, x) * (x_adv - x)
        fits = _distances(perception, point, clean) <= bound
        inside = torch.where(fits, middle, inside)
        outside = torch.where(fits, outside, middle)
    return x + per_example(inside, x) * (x_adv - x)


@torch.no_grad()
def check_inside(
    perception: PerceptualModel, x_adv: Tensor, x: Tensor, clean: Tensor, bound: float
) -> Tensor:
    """`x_adv`, if every image lies within `bound` of `x` and in the image box."""
    largest = _distances(perception, x_adv, clean).max() if len(x) else x.new_zeros(())
    if not largest <= bound * (1 + ROUNDING) + ROUNDING:
        raise RuntimeError(f"an image left the LPIPS ball: {largest:.6f} is more than {bound}")
    if len(x) and not (x_adv.amin() >= 0 and x_adv.amax() <= 1):
        raise RuntimeError("an image left the image box [0, 1]")
    return x_adv


@torch.no_grad()
def _distances(perception: PerceptualModel, x_adv: Tensor, clean: Tensor) -> Tensor:
    return lpips_distance(perception.features(x_adv), clean)


def _distance_and_slope(
    perception: PerceptualModel, x_adv: Tensor, clean: Tensor
) -> tuple[Tensor, Tensor]:
    """LPIPS to the clean images, and its gradient with respect to `x_adv`."""
    point = x_adv.detach().requires_grad_()
    distance = lpips_distance(perception.features(point), clean)
    return distance.detach(), torch.autograd.grad(distance.sum(), point)[0]
