"""Geometry of the threat models: projection, steepest direction, random start and distance.

Every function takes batches N x C x H x W and a `norm` of linf, l2 or l1; radii in pixel units.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args

import torch
from torch import Tensor

from robustrun.attacks.geometry.l1 import project_l1
from robustrun.compute.batch_parts import own_rows, whole_like
from robustrun.errors import require

Norm = Literal["linf", "l2", "l1"]
NORMS = get_args(Norm)
TINY = 1e-12  # keeps a division by a zero norm finite; far below any gradient of interest


def per_example(values: Tensor, x: Tensor) -> Tensor:
    """Values of shape N, shaped so that they broadcast over the images `x`."""
    return values.view(-1, *[1] * (x.dim() - 1))


def where_rows(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` in the rows of the mask `chosen`, `old` in the others."""
    return torch.where(per_example(chosen, new), new, old)


def l2_norm(x: Tensor) -> Tensor:
    """Euclidean norm of each example, shaped to broadcast over `x`."""
    return per_example(x.flatten(1).norm(dim=1), x)


def length(delta: Tensor, norm: str) -> Tensor:
    """The `norm` of each example, shaped to broadcast over `delta`."""
    if norm == "l2":
        return l2_norm(delta)
    size = delta.flatten(1).abs()
    return per_example(size.amax(dim=1) if norm == "linf" else size.sum(dim=1), delta)


def distance(x_adv: Tensor, x: Tensor, norm: str) -> Tensor:
    """Distance of each pair of images, shape N, computed in float64 so that rounding is x's own."""
    delta = (x_adv.double() - x.double()).flatten(1)
    if norm == "linf":
        return delta.abs().amax(dim=1) if delta.numel() else delta.sum(dim=1)
    distances: Tensor = torch.linalg.vector_norm(delta, ord={"l2": 2, "l1": 1}[norm], dim=1)
    return distances


def project(x_adv: Tensor, x: Tensor, norm: str, epsilon: float) -> Tensor:
    """The point in the ball around `x`, then in the image box [0, 1]; for l1, in both at once."""
    if norm == "l1":
        return project_l1(x_adv, x, epsilon)
    if norm == "linf":
        inside = torch.minimum(torch.maximum(x_adv, x - epsilon), x + epsilon)
    else:
        delta = x_adv - x
        inside = x + delta * (epsilon / l2_norm(delta).clamp_min(TINY)).clamp_max(1.0)
    return inside.clamp(0.0, 1.0)


def around(x: Tensor, norm: str, epsilon: float) -> Callable[[Tensor], Tensor]:
    """`project` for many points around the same `x`, to the same bits: linf's ball and the box are
    two bounds for each pixel, found once."""
    if norm != "linf":
        return lambda x_adv: project(x_adv, x, norm, epsilon)
    low, high = (x - epsilon).clamp_(min=0.0), (x + epsilon).clamp_(max=1.0)
    return lambda x_adv: torch.clamp(x_adv, low, high)


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """The direction of unit `norm` in which a linear function with this gradient grows fastest."""
    if norm == "linf":
        return gradient.sign()
    if norm == "l1":
        flat = gradient.flatten(1)
        largest = flat.abs().argmax(dim=1, keepdim=True)
        one = torch.zeros_like(flat)
        one.scatter_(1, largest, flat.gather(1, largest).sign())
        return one.view_as(gradient)
    return gradient / l2_norm(gradient).clamp_min(TINY)


def uniform_start(
    x: Tensor, norm: str, epsilon: float, generator: torch.Generator | None = None
) -> Tensor:
    """A random point of the ball: per pixel U(-epsilon, epsilon); for l2 and l1 a random
    direction times a radius U(0, epsilon), as Rice et al. (2020) do. Clamped to the image box."""
    noise = whole_like(x)
    if norm == "linf":
        noise.uniform_(-epsilon, epsilon, generator=generator)
    else:
        noise.normal_(generator=generator)
        radius = torch.rand(len(noise), generator=generator, device=x.device, dtype=x.dtype)
        noise *= per_example(radius * epsilon, x) / length(noise, norm).clamp_min(TINY)
    return (x + own_rows(noise)).clamp(0.0, 1.0)


def sphere_start(
    x: Tensor, norm: str, radius: float, generator: torch.Generator | None = None
) -> Tensor:
    """A random point at this distance: uniform (linf) or normal noise, scaled; then the box."""
    noise = whole_like(x)
    if norm == "linf":
        noise.uniform_(-1.0, 1.0, generator=generator)
    else:
        noise.normal_(generator=generator)
    noise = radius * noise / length(noise, norm).clamp_min(TINY)
    return (x + own_rows(noise)).clamp(0.0, 1.0)


def gaussian_start(x: Tensor, std: float, generator: torch.Generator | None = None) -> Tensor:
    """`x` plus normal noise of this standard deviation, not clamped (TRADES starts so)."""
    return x + std * own_rows(whole_like(x).normal_(generator=generator))


def check_threat_model(norm: str, epsilon: float) -> None:
    """The range checks that every adversary shares."""
    require(norm in NORMS, "norm", norm, f"one of {', '.join(NORMS)}")
    require(epsilon >= 0, "epsilon", epsilon, "a radius >= 0 in pixel units")
    inside = norm != "linf" or epsilon <= 1
    require(inside, "epsilon", epsilon, "at most 1, as pixels are: 8 grey levels are 8/255")


class HasRadius(Protocol):
    """A frozen dataclass with a radius."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def epsilon(self) -> float: ...


A = TypeVar("A", bound=HasRadius)


def same_at_radius(attack: A, epsilon: float) -> A:
    """The same attack at another radius; a `step_size` keeps its share of the radius."""
    if "step_size" not in attack.__dataclass_fields__:
        return replace(attack, epsilon=epsilon)
    step_size = attack.step_size  # type: ignore[attr-defined]
    share = step_size / attack.epsilon if attack.epsilon else 0.0
    return replace(attack, epsilon=epsilon, step_size=share * epsilon)
