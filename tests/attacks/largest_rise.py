"""The largest rise of a linear function within a ball and the image box."""

import torch
from torch import Tensor


def largest_rise(weight: Tensor, x: Tensor, norm: str, epsilon: float) -> Tensor:
    """max w · d over the ball and the box, in float64, by the solution of each problem."""
    room, steep = torch.where(weight > 0, 1 - x, x), weight.abs()
    if norm == "linf":
        return (steep * room.clamp_max(epsilon)).sum(dim=1)
    if norm == "l1":  # a knapsack: the steepest pixels first
        order = steep.argsort(descending=True)
        before = room[:, order].cumsum(dim=1) - room[:, order]
        return (steep[order] * (epsilon - before).clamp_min(0).minimum(room[:, order])).sum(dim=1)
    low, high = torch.zeros(len(x), 1).double(), torch.full((len(x), 1), 1e6).double()
    for _ in range(200):  # l2: min(t * w, room) with the t that fills the ball
        middle = (low + high) / 2
        outside = (middle * steep).minimum(room).norm(dim=1, keepdim=True) > epsilon
        low, high = torch.where(outside, low, middle), torch.where(outside, middle, high)
    return (steep * (low * steep).minimum(room)).sum(dim=1)
