"""Projection on a hyperplane inside the image box, in each norm: the inner problem of FAB
(Croce & Hein 2020, https://arxiv.org/abs/1907.02044, section 3.1).

All tensors are N x D (flattened images), except those that say K x N x D.
"""

from itertools import count

import torch
from torch import Tensor

from robustrun.compute import accelerators

ROUNDS = 12  # on an accelerator; more are needed only if almost all of the box has to be crossed
TINY = 1e-30  # keeps the division by a vanishing slope finite; slopes are scaled to 1 before


def to_hyperplane(x: Tensor, slope: Tensor, gap: Tensor, norm: str) -> Tensor:
    """The smallest d with slope · d = -gap and x + d in [0, 1]; `x` and d are K x N x D, `gap` is
    K x N: several points may have the same slope.

    Where the box ends before the hyperplane, the d that comes nearest to it. Every pixel moves
    against its slope, if at all; the norm decides how far each of them moves.
    """
    steep = slope.abs()
    scale = steep.amax(dim=-1, keepdim=True).clamp_min(TINY)
    steep, drop = steep / scale, gap.abs()[..., None] / scale
    way = slope.sign() * torch.where(gap < 0, 1.0, -1.0)[..., None].to(slope.dtype)
    room = ((way > 0).to(x.dtype) - x).abs()
    if norm == "l1":
        return way * _steepest_first(steep, room, drop)
    rate = steep if norm == "l2" else (steep > 0).to(steep.dtype)
    return way * _all_at_once(steep, rate, room, drop)


def _all_at_once(steep: Tensor, rate: Tensor, room: Tensor, drop: Tensor) -> Tensor:
    """min(t * rate, room) with the t at which sum(steep * min(t * rate, room)) = drop.

    As if no pixel were at the box, t is too small; set free only those that it does not push to
    the box, and t grows, until no further pixel meets the box (a handful of rounds). On an
    accelerator that is not looked at: after ROUNDS, t may still be too small.
    """
    pull, gain = steep * rate, steep * room
    at_box = (room <= 0).to(room.dtype)  # ones and zeros: `torch.where` takes ten times as long
    ahead = accelerators.works_ahead(room)
    for _ in range(ROUNDS) if ahead else count():
        missing = drop - (gain * at_box).sum(dim=-1, keepdim=True)
        pace = (pull * (1.0 - at_box)).sum(dim=-1, keepdim=True)
        amount = (missing / pace.clamp_min(TINY)).clamp(0.0, 1e12) * rate
        met = at_box.maximum((room <= amount).to(room.dtype))
        if not ahead and torch.equal(met.sum(dim=-1), at_box.sum(dim=-1)):  # it only grows
            break
        at_box = met
    return at_box * room + (1.0 - at_box) * amount.minimum(room)


def _steepest_first(steep: Tensor, room: Tensor, drop: Tensor) -> Tensor:
    """l1: the steepest pixels go to the box, one after another, the last one part of the way."""
    steep, order = steep.sort(dim=-1, descending=True)
    order = order.expand_as(room)
    gain = steep * room.gather(-1, order)
    needed = drop - (gain.cumsum(dim=-1) - gain)
    moved = needed.clamp_min(0.0).minimum(gain) / steep.clamp_min(TINY)
    return torch.zeros_like(moved).scatter_(-1, order, moved)
