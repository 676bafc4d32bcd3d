"""CW-L2: distance and margin minimised together, the weight found by bisection (Carlini & Wagner
2017, https://arxiv.org/abs/1608.04644, section VI.A).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import check_threat_model, same_at_radius
from robustrun.attacks.search.active import GRADIENT_STEPS, OpenRows
from robustrun.attacks.search.adam import Adam
from robustrun.attacks.search.ascent import input_gradient
from robustrun.attacks.search.cascade import run_until_fooled
from robustrun.attacks.search.nearest import Nearest, nearest_of_all
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.errors import require
from robustrun.losses import margin
from robustrun.types import ATTACKS

INSIDE = 1 - 1e-6  # the tanh of no finite number is 1: black and white are moved in by this much
CHECKS = 10  # how often in a descent it is checked whether the loss still falls
DECREASE = 0.9999  # a descent whose loss is above this share of the last check's is over


@ATTACKS.register("cw_l2")
@dataclass(frozen=True)
class CWL2:
    """min ||x' - x||^2 + c * max(0, confidence - margin(x')), where x' = (tanh w + 1) / 2.

    Adam on w, started again for each c. c is halved towards 0 where a descent fooled the model and
    grows tenfold where none has; then it is bisected. As an attack, an image is done, and leaves
    the batch, once it fools the model at no more than `epsilon`.
    """

    norm: Literal["l2"]
    epsilon: float  # pixel units
    steps: int  # of each descent, at most
    searches: int  # descents, each with another c
    constant: float  # c of the first descent
    confidence: float  # margin that counts as fooled, in logits
    lr: float  # of Adam

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.searches >= 1, "searches", self.searches, "at least 1")
        require(self.constant > 0, "constant", self.constant, "above 0")
        require(self.confidence >= 0, "confidence", self.confidence, "a margin >= 0 in logits")
        require(self.lr > 0, "lr", self.lr, "above 0")

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        def run(left: Tensor) -> Tensor:
            return self._search(model, x[left], y[left], self.epsilon).within(self.epsilon)

        with attack_mode(model):
            return run_until_fooled(model, x, y, [run])

    def minimal_distances(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(images, their distances, float64 of shape N), as near as they are found, whatever
        `epsilon` is: 0 for what is wrong already, infinite where nothing was found."""
        with attack_mode(model):
            return nearest_of_all(self._search, model, x, y)

    def _search(self, model: nn.Module, x: Tensor, y: Tensor, enough: float) -> Nearest:
        """Images leave once they fool the model at no more than `enough`."""
        nearest = Nearest.of(x, self.norm)
        left = torch.arange(len(x), device=x.device)
        weight = torch.full_like(x[:, 0, 0, 0], self.constant)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        for _ in range(self.searches):
            fell = self._descend(model, y, weight, nearest, left, enough)
            high = torch.where(fell, torch.minimum(high, weight), high)
            low = torch.where(fell, low, torch.maximum(low, weight))
            weight = torch.where(torch.isfinite(high), (low + high) / 2, 10 * weight)
            left = left[nearest.distance[left] > enough]
            if len(left) == 0:
                break
        return nearest

    def _descend(
        self,
        model: nn.Module,
        y: Tensor,
        weight: Tensor,
        nearest: Nearest,
        rows: Tensor,
        enough: float,
    ) -> Tensor:
        """One descent of the images in `rows`; which of all the images it fooled the model with."""
        fell = torch.zeros_like(y, dtype=torch.bool)
        w = torch.atanh((2 * nearest.x[rows] - 1) * INSIDE)
        adam, checked = Adam.of(w, self.lr), torch.full_like(weight, torch.inf)
        left = OpenRows(w, GRADIENT_STEPS)
        for step in range(1, self.steps + 1):
            w = w.detach().requires_grad_()
            point = (torch.tanh(w) + 1) / 2
            logits = model(point)
            ahead = margin(logits, y[rows]) - self.confidence
            apart = (point - nearest.x[rows]).square().flatten(1).sum(dim=1)
            value = apart + weight[rows] * (-ahead).clamp_min(0.0)
            w = w.detach() + adam.step(input_gradient(value.sum(), w))
            fooled = (ahead.detach() > 0) | (predicted(logits.detach()) == NO_ANSWER)
            fooled &= left.open
            fell[rows] |= fooled
            nearest.offer(rows, point, fooled)
            done = nearest.distance[rows] <= enough
            if step % max(self.steps // CHECKS, 1) == 0:
                value = value.detach()
                done |= ~(value <= DECREASE * checked[rows])
                checked[rows] = value
            kept = left.close(done)
            if left.empty:
                break
            w, rows = w[kept], rows[kept]
            adam.keep(kept)
        return fell

    with_radius = same_at_radius
