"""Geometry of the l1 ball cut by the image box (Croce & Hein 2021, https://arxiv.org/abs/2103.01208).

Functions of batches N x C x H x W; nothing here imports the other geometry, which builds on it.
"""

import torch
from torch import Tensor

HALVINGS = 25  # narrows a bracket down to the resolution of float32


def project_l1(x_adv: Tensor, x: Tensor, epsilon: float) -> Tensor:
    """The point nearest to `x_adv` (Euclidean) that is in the l1 ball around `x` and in [0, 1].

    With y = x_adv - x and u the room to the box on y's side, it is
    x + sign(y) * min(max(|y| - s, 0), u) for the smallest s >= 0 that fits the ball. Projecting on
    the ball first and cutting to the box after would leave part of the ball unused.
    """
    y = (x_adv - x).flatten(1)
    room = torch.where(y > 0, 1.0 - x.flatten(1), x.flatten(1))
    moved = y.sign() * _kept(y.abs(), room, _shrinkage(y.abs(), room, epsilon))
    return (x + moved.view_as(x)).clamp(0.0, 1.0)


def _kept(length: Tensor, room: Tensor, shrinkage: Tensor) -> Tensor:
    return (length - shrinkage).clamp_min(0.0).minimum(room)


def _shrinkage(length: Tensor, room: Tensor, epsilon: float) -> Tensor:
    """The s >= 0 of `project_l1`, N x 1.

    The sum over pixels falls piecewise linearly in s: halving finds the piece, then s is exact.
    (Sorting the corners of the pieces, as the authors do, takes three times as long.)
    """
    low, high = torch.zeros_like(length[:, :1]), length.amax(dim=1, keepdim=True)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        outside = _kept(length, room, middle).sum(dim=1, keepdim=True) > epsilon
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    middle = (low + high) / 2
    at_box = length - room >= middle
    free = (length > middle) & ~at_box
    total = (room * at_box + length * free).sum(dim=1, keepdim=True)
    exact = (total - epsilon) / free.sum(dim=1, keepdim=True).clamp_min(1)
    return exact.clamp(low, high)


def sparse_sign(gradient: Tensor, share: Tensor) -> Tensor:
    """Equal steps along the largest `share` (shape N) of each gradient's pixels; l1 norm 1."""
    size = gradient.flatten(1).abs()
    pixels = size.shape[1]
    smallest = ((1.0 - share) * pixels).clamp(0, pixels - 1).long()
    threshold = size.sort(dim=1).values.gather(1, smallest[:, None])
    sign = gradient.flatten(1).sign() * (size >= threshold)
    steps = sign / sign.abs().sum(dim=1, keepdim=True).clamp_min(1.0)
    return steps.view_as(gradient)


def support(delta: Tensor) -> Tensor:
    """How many pixels of each perturbation are not zero, as floats of shape N."""
    return (delta != 0).flatten(1).sum(dim=1).to(delta.dtype)
