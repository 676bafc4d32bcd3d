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
    room = (way.clamp_min(0.0) - x).abs_()
    if norm == "l1":
        return way * _steepest_first(steep, room, drop)
    return way * _all_at_once(steep, room, drop, norm)


def _all_at_once(steep: Tensor, room: Tensor, drop: Tensor, norm: str) -> Tensor:
    """min(t * rate, room) with the t at which sum(steep * min(t * rate, room)) = drop; the rate is
    `steep` for l2, and 1 where that is above 0 for linf.

    As if no pixel were at the box, t is too small; set free only those that it does not push to
    the box, and t grows, until no further pixel meets the box (a handful of rounds). On an
    accelerator that is not looked at: after ROUNDS, t may still be too small.
    """
    pull, gain = steep * steep if norm == "l2" else steep, steep * room
    free = room.sign()  # ones and zeros: a mask of bools, or `torch.where`, takes ten times as long
    left, ahead = free.sum(dim=-1), accelerators.works_ahead(room)
    for _ in range(ROUNDS) if ahead else count():
        missing = drop - (gain * (1.0 - free)).sum(dim=-1, keepdim=True)
        pace = (pull * free).sum(dim=-1, keepdim=True)
        amount = (missing / pace.clamp_min(TINY)).clamp(0.0, 1e12)
        if norm == "l2":
            amount = amount * steep
        free = (room - amount).clamp_min_(0.0).sign_().mul_(free)  # it only becomes less
        before, left = left, free.sum(dim=-1)
        if not ahead and not bool((left < before).any()):
            break
    moved = room.minimum(amount)
    return moved if norm == "l2" else moved.mul_(steep.sign())


def _steepest_first(steep: Tensor, room: Tensor, drop: Tensor) -> Tensor:
    """l1: the steepest pixels go to the box, one after another, the last one part of the way."""
    steep, order = steep.sort(dim=-1, descending=True)
    order = order.expand_as(room)
    gain = steep * room.gather(-1, order)
    needed = drop - (gain.cumsum(dim=-1) - gain)
    moved = needed.clamp_min(0.0).minimum(gain) / steep.clamp_min(TINY)
    return torch.zeros_like(moved).scatter_(-1, order, moved)
