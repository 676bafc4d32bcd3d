"""MultiTargeted: projected ascent towards each wrong class in turn (Gowal et al. 2019,
https://arxiv.org/abs/1910.09338).
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from robustrun.attacks.ascent import attacked
from robustrun.attacks.ball import check_threat_model, project, steepest, uniform_start
from robustrun.attacks.cascade import Run, cascade, input_gradient, likeliest_wrong
from robustrun.errors import require
from robustrun.losses import gap
from robustrun.types import ATTACKS


@ATTACKS.register("multi_targeted")
@dataclass(frozen=True)
class MultiTargeted:
    """Climbs the logit of a wrong class minus that of the right one, for one class after another.

    Towards one class the surface is smoother than towards whichever is likeliest at the moment.
    The step shrinks tenfold at the shares `drops` of a run. An image leaves the batch, and is kept,
    as soon as any class fools the model. Each run draws one start for the images that are left.
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
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        with attacked(model):
            return cascade(model, x, y, self._runs(model, x, y, generator))

    def _runs(
        self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator | None
    ) -> Iterator[Run]:
        # All classes once before any twice: the first restart finds most of what there is.
        for _ in range(self.restarts):
            for aim in likeliest_wrong(model, x, y, self.targets).unbind(dim=1):
                yield partial(self._run, model, x, y, aim, generator)

    def _run(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        aim: Tensor,
        generator: torch.Generator | None,
        left: Tensor,
    ) -> Tensor:
        x, y, aim = x[left], y[left], aim[left]
        x_adv, index = x.clone(), torch.arange(len(x), device=x.device)
        point = uniform_start(x, self.norm, self.epsilon, generator)
        point = project(point, x, self.norm, self.epsilon)
        for step in range(self.steps + 1):
            point = point.detach().requires_grad_(step < self.steps)
            logits = model(point)
            x_adv[index] = point.detach()
            right = logits.detach().argmax(dim=1) == y
            if step == self.steps or not right.any():
                break
            slope = input_gradient(gap(logits, y, aim).sum(), point)[right]
            index, x, y, aim = (rows[right] for rows in (index, x, y, aim))
            moved = point.detach()[right] + self._size(step) * steepest(slope, self.norm)
            point = project(moved, x, self.norm, self.epsilon)
        return x_adv

    def _size(self, step: int) -> float:
        """The length of this step."""
        passed = sum(step >= share * self.steps for share in self.drops)
        return float(self.step_size * 0.1**passed)

    def at(self, epsilon: float) -> "MultiTargeted":
        """The same attack at another radius; the step keeps its share of the radius."""
        share = self.step_size / self.epsilon if self.epsilon else 0.0
        return replace(self, epsilon=epsilon, step_size=share * epsilon)

    def describe(self, classes: int) -> dict[str, Any]:
        """The settings as they apply to a model with so many classes, and what had to change."""
        settings = asdict(self) | {"targets": min(self.targets, classes - 1)}
        if settings["targets"] == self.targets:
            return settings
        change = f"{classes - 1} target classes instead of {self.targets}"
        return settings | {"instead": f"{classes} classes: {change}"}
