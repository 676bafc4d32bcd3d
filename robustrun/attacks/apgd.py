"""APGD: projected gradient ascent that sets its own step size (Croce & Hein 2020,
https://arxiv.org/abs/2003.01690; for l1: 2021, https://arxiv.org/abs/2103.01208).
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import (
    Norm,
    check_threat_model,
    gaussian_start,
    project,
    same_at_radius,
    sphere_start,
)
from robustrun.attacks.geometry.l1 import support
from robustrun.attacks.search.active import GRADIENT_STEPS, ActiveImages
from robustrun.attacks.search.apgd_settings import Checks, Phase, Sparsity
from robustrun.attacks.search.apgd_state import (
    APGDState,
    evaluate_point,
    halve_step_size,
    initial_state,
    step_sparsely,
    step_with_momentum,
    update_sparsity,
)
from robustrun.attacks.search.cascade import (
    Rows,
    run_batched_until_fooled,
)
from robustrun.attacks.search.targets import settings_for, top_wrong_classes
from robustrun.compute.modes import attack_mode
from robustrun.errors import require
from robustrun.losses import dlr, dlr_targeted, gap, margin
from robustrun.types import ATTACKS


@ATTACKS.register("apgd")
@dataclass(frozen=True)
class APGD:
    """Ascent with momentum; where it stalls, the step is halved and the best point returned to.

    It stalls where at most `rho` of a period's steps raised the loss, or where neither step nor
    best loss has changed for a period. With `targets`, each of the likeliest wrong classes is
    aimed at in turn. An image leaves the batch as soon as it fools the model. Runs that are done
    together draw one start for the images that are left, and nothing else.
    """

    norm: Norm
    epsilon: float  # pixel units
    loss: Literal["ce", "dlr"]
    targets: int  # wrong classes to aim at; 0: none in particular
    steps: int  # for each restart and target
    step_size: float  # the first, pixel units
    restarts: int
    eot: int  # passes that a gradient is averaged over, for models with noise
    momentum: float  # share of the new direction
    rho: float
    checks: Checks
    phases: tuple[Phase, ...]  # one unless norm is l1; the last takes the steps that are left
    sparsity: Sparsity

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True
    low_precision: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        for name in ("steps", "restarts", "eot"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.targets >= 0, "targets", self.targets, ">= 0")
        targetable = self.targets == 0 or self.loss == "dlr"
        require(targetable, "targets", self.targets, "0 unless loss is dlr")
        require(self.step_size >= 0, "step_size", self.step_size, "a step >= 0 in pixel units")
        for name in ("momentum", "rho"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        require(
            len(self.phases) >= 1 and self.phases[-1].radius == 1,
            "phases",
            [asdict(phase) for phase in self.phases],
            "at least one, and the last at radius 1",
        )
        one = len(self.phases) == 1 or self.norm == "l1"
        require(one, "phases", len(self.phases), "one unless norm is l1")

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
        """(the number of runs, one for each target and restart; the function that does them)."""
        aims = top_wrong_classes(model, x, y, self.targets) if self.targets else y[:, None]
        aims = aims.repeat_interleave(self.restarts, dim=1)
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
        if self.norm == "l1":
            point = gaussian_start(x, 1.0, generator)
        else:
            point = sphere_start(x, self.norm, self.epsilon, generator)
        for multiple, steps, last in self._schedule():
            epsilon, step_size = multiple * self.epsilon, multiple * self.step_size
            s = initial_state(x, y, aim, project(point, x, self.norm, epsilon), step_size)
            image = left if last else None
            x_adv, point = self._climb(model, self._sparse(s), epsilon, step_size, steps, image)
        return x_adv

    def _schedule(self) -> Iterator[tuple[float, int, bool]]:
        """(multiple of epsilon, steps, is it the last) of each phase; the last takes the rest."""
        left = self.steps
        for phase in self.phases[:-1]:
            steps = min(math.ceil(phase.share * self.steps), left)
            left -= steps
            yield phase.radius, steps, False
        yield 1.0, left, True

    def _sparse(self, s: APGDState) -> APGDState:
        """`s` with the first step's number of pixels; from a chosen start, it follows from that."""
        all_pixels = s.x[0].numel()
        if len(self.phases) > 1:
            s.pixels = support(s.point - s.x)
            s.share = s.pixels / all_pixels / self.sparsity.divisor
        else:
            s.pixels = torch.full_like(s.pixels, all_pixels)
            s.share = torch.full_like(s.share, self.sparsity.start)
        return s

    def _climb(
        self,
        model: nn.Module,
        s: APGDState,
        epsilon: float,
        step_size: float,
        steps: int,
        image: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """(images that fool the model, or else those of the largest loss; points of largest loss).

        With `image`, the number of each row's, an image is done once it fools the model, and the
        second result is not full.
        """
        active = ActiveImages(s.x, GRADIENT_STEPS, image)
        periods = self.checks.periods(steps)
        for step in range(steps + 1):
            if step > 0:
                self._move(s, epsilon, 1.0 if step == 1 else self.momentum)
            # The authors compare the first step's loss with zero, not with the start's.
            former = s.loss if step > 1 else torch.zeros_like(s.loss)
            fooled = evaluate_point(s, model, self._loss, self.eot)
            if step > 0:
                s.rises = s.rises + (s.loss > former)
            if image is not None:
                s = s.keep(active.leave(fooled, s.point))
                if active.empty:
                    break
            if step in periods:
                self._check(s, periods[step], step_size)
        active.store(s.best)
        return active.images, s.best

    def _move(self, s: APGDState, epsilon: float, momentum: float) -> None:
        if self.norm == "l1":
            step_sparsely(s, epsilon)
        else:
            step_with_momentum(s, self.norm, epsilon, momentum)

    def _check(self, s: APGDState, period: int, step_size: float) -> None:
        if self.norm == "l1":
            update_sparsity(s, self.sparsity, step_size)
        else:
            halve_step_size(s, period, self.rho)

    def _loss(self, logits: Tensor, y: Tensor, aim: Tensor) -> Tensor:
        kind = self._kind(logits.shape[1])
        if kind == "ce":
            return F.cross_entropy(logits, y, reduction="none")
        if kind == "dlr":
            return dlr_targeted(logits, y, aim) if self.targets else dlr(logits, y)
        return gap(logits, y, aim) if self.targets else margin(logits, y)

    def _kind(self, classes: int) -> str:
        """The loss for this number of classes: a ratio of logits needs 3, towards a target 4."""
        needed = 4 if self.targets else 3
        return "difference" if self.loss == "dlr" and classes < needed else self.loss

    with_radius = same_at_radius

    def effective_settings(self, classes: int) -> dict[str, Any]:
        """The settings as they apply to this number of classes, and what had to change."""
        if self._kind(classes) == self.loss:
            return settings_for(self, classes)
        change = "a difference of logits instead of their ratio (DLR)"
        return settings_for(self, classes, {"loss": ("difference", change)})
