"""A screen: ascents that find nearly what AutoAttack finds, at a twenty-fifth of its passes.

Its parts are those that published attacks of few passes have in common, chosen by measurement
(docs/evaluation.md): a loss between logits, not probabilities (Carlini & Wagner 2017,
https://arxiv.org/abs/1608.04644), or one whose logits are scaled first (MIFPE, Yu & Xu, AAAI
2023, studied in https://arxiv.org/abs/2507.22428); one wrong class after another (Gowal et al.
2019, https://arxiv.org/abs/1910.09338); a step that shrinks along half a cosine (A3, Liu et al.
2022, https://arxiv.org/abs/2203.05154; PMA, Xie et al. 2024, https://arxiv.org/abs/2411.15210).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import (
    check_threat_model,
    project,
    same_at_radius,
    uniform_start,
)
from robustrun.attacks.search.cascade import (
    Rows,
    Run,
    run_batched_until_fooled,
    run_until_fooled,
)
from robustrun.attacks.search.climb import climb
from robustrun.attacks.search.targets import settings_for, top_wrong_classes
from robustrun.compute.modes import attack_mode
from robustrun.errors import require
from robustrun.losses import gap, scaled_cross_entropy
from robustrun.types import ATTACKS


@ATTACKS.register("screen")
@dataclass(frozen=True)
class Screen:
    """One ascent away from the right class, then one towards each wrong class that is likeliest
    where that has ended.

    It is not AutoAttack: what it leaves standing is an upper bound of robust accuracy, and without
    a usable gradient it only tries its starting points. An image leaves the batch, and is kept, as
    soon as it fools the model. Runs that are done together draw one start for the images left.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # pixel units
    first_steps: int  # away from the right class
    targets: int  # wrong classes to aim at
    steps: int  # towards each
    step_size: float  # the first of each ascent, pixel units
    last_step: float  # share of the first, that the steps shrink to

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True
    low_precision: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        for name in ("first_steps", "targets", "steps"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.step_size >= 0, "step_size", self.step_size, "a step >= 0 in pixel units")
        require(0 <= self.last_step <= 1, "last_step", self.last_step, "a share, 0 to 1")

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        generator: torch.Generator | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        with attack_mode(model):
            runs = self._runs(model, x, y, generator, batch_size)
            return run_until_fooled(model, x, y, runs)

    def _runs(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None,
        batch_size: int | None,
    ) -> Iterator[Run]:
        reached = x.clone()

        def away(left: Tensor) -> Tensor:
            reached[left] = self._away(model, x[left], y[left], generator)
            return reached[left]

        def towards(left: Tensor) -> Tensor:
            plan = partial(self._plan, model, x[left], y[left], reached[left], generator)
            return run_batched_until_fooled(model, x[left], y[left], plan, batch_size)

        yield away
        yield towards

    def _away(
        self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        loss = lambda logits, rows: scaled_cross_entropy(logits, y[rows]).sum()  # noqa: E731
        return self._ascent(model, x, y, generator, loss, self.first_steps)

    def _plan(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        reached: Tensor,
        generator: torch.Generator | None,
    ) -> tuple[int, Rows]:
        """(the number of classes to aim at; the function that does it)."""
        aims = top_wrong_classes(model, reached, y, self.targets)

        def towards(left: Tensor, run: Tensor) -> Tensor:
            labels, aim = y[left], aims[left, run]
            loss = lambda logits, rows: gap(logits, labels[rows], aim[rows]).sum()  # noqa: E731
            return self._ascent(model, x[left], labels, generator, loss, self.steps, left)

        return aims.shape[1], towards

    def _ascent(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        generator: torch.Generator | None,
        loss: Callable[[Tensor, Tensor], Tensor],
        steps: int,
        image: Tensor | None = None,
    ) -> Tensor:
        start = uniform_start(x, self.norm, self.epsilon, generator)
        x_adv, _ = climb(
            model,
            x,
            y,
            project(start, x, self.norm, self.epsilon),
            loss,
            norm=self.norm,
            epsilon=self.epsilon,
            step_size=lambda step: self.size(step, steps),
            steps=steps,
            image=image,
        )
        return x_adv

    def size(self, step: int, steps: int) -> float:
        """The length of this step of so many, in pixel units: half a cosine."""
        share = (1 + math.cos(math.pi * step / steps)) / 2
        return self.step_size * (self.last_step + (1 - self.last_step) * share)

    with_radius = same_at_radius

    effective_settings = settings_for
