"""MultiTargeted: projected ascent towards each wrong class in turn (Gowal et al. 2019,
https://arxiv.org/abs/1910.09338).
"""

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
    run_batched_until_fooled,
)
from robustrun.attacks.search.climb import climb
from robustrun.attacks.search.targets import settings_for, top_wrong_classes
from robustrun.compute.modes import attack_mode
from robustrun.errors import require
from robustrun.losses import gap
from robustrun.types import ATTACKS


@ATTACKS.register("multi_targeted")
@dataclass(frozen=True)
class MultiTargeted:
    """Climbs the logit of a wrong class minus that of the right one, for one class after another.

    Towards one class the surface is smoother than towards whichever is likeliest at the moment.
    The step shrinks tenfold at the shares `drops` of a run. An image leaves the batch, and is kept,
    as soon as any class fools the model. Runs that are done together draw one start for the images
    that are left.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # pixel units
    targets: int  # wrong classes to aim at, likeliest first
    steps: int  # for each restart and target
    step_size: float  # the first, pixel units
    drops: tuple[float, ...]  # shares of the steps
    restarts: int  # for each target

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True
    low_precision: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        for name in ("targets", "steps", "restarts"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.step_size >= 0, "step_size", self.step_size, "a step >= 0 in pixel units")
        shares = all(0 < share < 1 for share in self.drops)
        require(shares, "drops", list(self.drops), "shares of the steps, between 0 and 1")

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
            plan = partial(self._plan, model, x, y, generator)
            return run_batched_until_fooled(model, x, y, plan, batch_size)

    def _plan(
        self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator | None
    ) -> tuple[int, Rows]:
        """(the number of runs; the function that does them): all classes once before any twice,
        since most images that fool the model are found by the first restart."""
        aims = top_wrong_classes(model, x, y, self.targets).repeat(1, self.restarts)
        return aims.shape[1], partial(self._run, model, x, y, aims, generator)

    def _run(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        aims: Tensor,
        generator: torch.Generator | None,
        left: Tensor,
        run: Tensor,
    ) -> Tensor:
        x, y, aim = x[left], y[left], aims[left, run]
        start = uniform_start(x, self.norm, self.epsilon, generator)
        x_adv, _ = climb(
            model,
            x,
            y,
            project(start, x, self.norm, self.epsilon),
            lambda logits, rows: gap(logits, y[rows], aim[rows]).sum(),
            norm=self.norm,
            epsilon=self.epsilon,
            step_size=self._size,
            steps=self.steps,
            image=left,
        )
        return x_adv

    def _size(self, step: int) -> float:
        """The length of this step."""
        passed = sum(step >= share * self.steps for share in self.drops)
        return float(self.step_size * 0.1**passed)

    with_radius = same_at_radius

    effective_settings = settings_for
