"""Square: random search with squares, no gradient (Andriushchenko et al. 2020,
https://arxiv.org/abs/1912.00049; for l1: Croce & Hein 2021, https://arxiv.org/abs/2103.01208).
"""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import (
    TINY,
    Norm,
    check_threat_model,
    length,
    per_example,
    project,
    same_at_radius,
)
from robustrun.attacks.search.active import QUERIES, ActiveImages
from robustrun.attacks.search.cascade import Run, run_until_fooled
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import predicted
from robustrun.errors import require
from robustrun.losses import margin
from robustrun.types import ATTACKS

# The share of changed pixels is halved after each of these queries, if there are 10,000 of them.
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
INSIDE = 1.0 - 1e-6  # l1: rounding of the sum must not leave the ball

Window = tuple[slice, slice, slice, slice]
Proposal = tuple[Window, Tensor]  # where the images change, and to what
EVERYWHERE = (slice(None),) * 4


@ATTACKS.register("square")
@dataclass(frozen=True)
class Square:
    """Keeps a random change of a square window whenever it raises the margin loss.

    linf: the window gets one of the colours x +- epsilon per channel. l2 and l1: it gets a random
    pattern with the perturbation of two windows and what the ball has left. All images change at
    the same place. An image leaves the batch as soon as it fools the model.

    Each run draws, for all the images it begins with: for all queries, the windows' places and
    (linf) the colours or (l2, l1) the orientation of the pattern; the start; then, for l2 and l1,
    one sign per image and channel at each query.
    """

    norm: Norm
    epsilon: float  # pixel units
    queries: int
    restarts: int
    p_init: float  # share of the pixels in the first windows
    rescale_schedule: bool  # whether the windows shrink as if `queries` were 10,000

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True
    low_precision: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.queries >= 1, "queries", self.queries, "at least 1")
        require(self.restarts >= 1, "restarts", self.restarts, "at least 1")
        require(0 < self.p_init <= 1, "p_init", self.p_init, "a share above 0, up to 1")

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        with attack_mode(model):
            return run_until_fooled(model, x, y, self._runs(model, x, y, generator))

    def _runs(
        self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator | None
    ) -> Iterator[Run]:
        for _ in range(self.restarts):
            yield partial(self._run, model, x, y, generator)

    @torch.inference_mode()
    def _run(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None,
        left: Tensor,
    ) -> Tensor:
        x, y = x[left], y[left]
        search = (_Stripes if self.norm == "linf" else _Patterns)(self, x, generator)
        active = ActiveImages(x, QUERIES)
        best = search.start()
        point, changed = best.clone(), EVERYWHERE
        highest = torch.full_like(x[:, 0, 0, 0], -torch.inf)
        for query in range(self.queries + 1):
            logits = model(point)
            fooled, height = predicted(logits) != y, margin(logits, y)
            higher = height > highest
            best[changed] = torch.where(per_example(higher, x), point[changed], best[changed])
            highest = torch.where(higher, height, highest)
            kept = active.leave(fooled, point)
            x, y, best, point, highest = (each[kept] for each in (x, y, best, point, highest))
            if active.empty:
                break
            if query < self.queries:
                point[changed] = best[changed]
                changed, values = search.propose(query, active.rows, x, best)
                point[changed] = values
        active.store(best)
        return active.images

    def side(self, query: int, height: int, width: int) -> int:
        """The side of the window at this query, before the limits of the norm."""
        if self.rescale_schedule:
            query = int(query / self.queries * 10000)
        share = self.p_init / 2 ** bisect_left(HALVED_AFTER, query)
        return round(math.sqrt(share * height * width))

    with_radius = same_at_radius


class _Stripes:
    """linf: vertical stripes to begin with, then squares of one colour per channel."""

    def __init__(self, attack: Square, x: Tensor, generator: torch.Generator | None) -> None:
        self.attack, self.x, self.generator = attack, x, generator
        self.places = torch.rand(attack.queries, 2, generator=generator, device=x.device).tolist()
        self.colours = _signs((attack.queries, x.shape[1], 1, 1), x, generator)

    def start(self) -> Tensor:
        count, channels, _, width = self.x.shape
        stripes = _signs((count, channels, 1, width), self.x, self.generator)
        return (self.x + self.attack.epsilon * stripes).clamp(0.0, 1.0)

    def propose(self, query: int, index: Tensor, x: Tensor, best: Tensor) -> Proposal:
        height, width = x.shape[2:]
        side = min(max(self.attack.side(query, height, width), 1), height, width)
        window = _window(self.places[query], side, height, width)
        colour = self.attack.epsilon * self.colours[query]
        return window, (x[window] + colour).clamp_(0.0, 1.0)


class _Patterns:
    """l2 and l1: the perturbation is moved between windows, as two humps of opposite sign."""

    def __init__(self, attack: Square, x: Tensor, generator: torch.Generator | None) -> None:
        self.attack, self.x, self.generator = attack, x, generator
        self.power = 2 if attack.norm == "l2" else 1
        self.places = torch.rand(attack.queries, 4, generator=generator, device=x.device).tolist()
        turns = torch.rand(attack.queries, generator=generator, device=x.device)
        self.turns = (turns > 0.5).tolist()
        height, width = x.shape[2:]
        self.tile = max(height // 5, 1)  # the side of the squares at the start
        sides = {self._side(query, height, width) for query in range(attack.queries)}
        self.patterns = {side: _humps(side, self.power).to(x) for side in {self.tile, *sides}}

    def start(self) -> Tensor:
        side, (height, width) = self.tile, self.x.shape[2:]
        edge = max(height - 5 * side, 0) // 2
        delta = torch.zeros_like(self.x)
        for top in range(edge, height - side + 1, side):
            for left in range(edge, width - side + 1, side):
                turn = bool(torch.rand((), generator=self.generator, device=self.x.device) > 0.5)
                tile = self._pattern(side, turn) * self._image_signs()
                delta[:, :, top : top + side, left : left + side] = tile
        return self._inside(self.x, delta)

    def propose(self, query: int, index: Tensor, x: Tensor, best: Tensor) -> Proposal:
        height, width = x.shape[2:]
        side = self._side(query, height, width)
        first = _window(self.places[query][:2], side, height, width)
        second = _window(self.places[query][2:], side, height, width)
        delta = best - x
        spare = self.attack.epsilon**self.power - self._mass(delta).sum(dim=1, keepdim=True)
        mass = self._mass(delta[first])
        fresh = self._pattern(side, self.turns[query]) * self._image_signs()[index]
        fresh += delta[first] / (TINY + mass ** (1 / self.power))
        delta[first] = 0.0
        mass = mass + self._mass(delta[second])  # where the windows overlap counts once
        delta[second] = 0.0
        mass = mass + spare.clamp_min(0.0) / x.shape[1]
        if self.power == 1:
            mass = mass * x.shape[1]  # the authors' l1 version asks for more than the ball has
        root = 1 / self.power
        delta[first] = fresh / (TINY + self._mass(fresh) ** root) * mass**root
        return EVERYWHERE, self._inside(x, delta)

    def _inside(self, x: Tensor, delta: Tensor) -> Tensor:
        norm, epsilon = self.attack.norm, self.attack.epsilon
        if norm == "l1":
            return project(x + delta, x, norm, epsilon * INSIDE)
        return (x + epsilon * delta / length(delta, norm).clamp_min(TINY)).clamp(0.0, 1.0)

    def _mass(self, delta: Tensor) -> Tensor:
        """The norm of each channel, to the power of the norm."""
        return delta.abs().pow(self.power).sum(dim=(2, 3), keepdim=True)

    def _image_signs(self) -> Tensor:
        count, channels = self.x.shape[:2]
        return _signs((count, channels, 1, 1), self.x, self.generator)

    def _side(self, query: int, height: int, width: int) -> int:
        odd = max(self.attack.side(query, height, width), 3) // 2 * 2 + 1
        return min(odd, height, width)

    def _pattern(self, side: int, turn: bool) -> Tensor:
        pattern = self.patterns[side]
        return pattern.T if turn else pattern


def _signs(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Random -1 and 1."""
    bits = torch.randint(0, 2, shape, generator=generator, device=like.device)
    return (2 * bits - 1).to(like.dtype)


def _window(place: list[float], side: int, height: int, width: int) -> Window:
    """A square of all images and channels. As with the authors, the last place is never drawn."""
    top, left = int(place[0] * (height - side)), int(place[1] * (width - side))
    return slice(None), slice(None), slice(top, top + side), slice(left, left + side)


def _humps(side: int, power: int) -> Tensor:
    """One hump above one of the opposite sign, side x side, of norm 1."""
    upper, lower = _hump(side // 2, side, power), _hump(side - side // 2, side, power)
    both = torch.cat([upper, -lower])
    size: Tensor = torch.linalg.vector_norm(both, power)
    return both / size


def _hump(height: int, width: int, power: int) -> Tensor:
    """Falls off from the middle in square rings: r rings out, the sum of j^-(2 or 4) over j > r."""
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    rings = torch.maximum(rows[:, None], columns[None, :])
    terms = torch.arange(1, max(height, width) // 2 + 2) ** (-2.0 if power == 2 else -4.0)
    outer_sums = terms.flip(0).cumsum(0).flip(0)
    hump = outer_sums[rings]
    size: Tensor = torch.linalg.vector_norm(hump, power)
    return hump / size.clamp_min(TINY)
