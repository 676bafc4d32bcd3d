"""PPGD: perceptual projected gradient descent (Laidlaw et al. 2021,
https://arxiv.org/abs/2006.12655, section 4 and algorithm 1).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import (
    TINY,
    Norm,
    check_threat_model,
    gaussian_start,
    l2_norm,
    per_example,
)
from robustrun.attacks.perceptual.linearised import Linearised, conjugate_gradients
from robustrun.attacks.perceptual.lpips import LPIPS, PerceptualModel, lpips_distance
from robustrun.attacks.perceptual.lpips_ball import check_inside, project_lpips
from robustrun.attacks.search.ascent import input_gradient
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import predicted
from robustrun.errors import require
from robustrun.losses import margin
from robustrun.types import ATTACKS

FLAT = 1e-4  # a gradient shorter than this (in logits per pixel unit) shows no direction


@ATTACKS.register("ppgd")
@dataclass(frozen=True)
class PPGD:
    """Steps that gain most margin for their LPIPS length, each followed by a projection.

    With J the Jacobian of the features, the step v solves J^T J v = grad margin, by `cg_steps` of
    conjugate gradients, and is scaled so that ||J v|| is `step_size`. An image is done as
    soon as it fools the model inside the ball, and that image is kept.
    """

    norm: Norm  # with epsilon, the threat model that training borrows
    epsilon: float  # pixel units
    bound: float  # LPIPS distance: the ball of this attack
    steps: int
    step_size: float  # LPIPS distance
    cg_steps: int  # conjugate gradient iterations for each step
    confidence: float  # margin beyond which it counts no more, in logits
    probe: float  # Euclidean length in pixel units of the finite differences
    start_std: float  # of the normal noise that the search starts with, pixel units
    lpips: LPIPS

    bounded: ClassVar[bool] = False  # in no ball of pixels; the LPIPS ball is checked here
    adversarial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.bound >= 0, "bound", self.bound, "an LPIPS distance >= 0")
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.step_size >= 0, "step_size", self.step_size, "an LPIPS distance >= 0")
        require(self.cg_steps >= 1, "cg_steps", self.cg_steps, "at least 1")
        require(self.confidence >= 0, "confidence", self.confidence, "a margin >= 0 in logits")
        require(self.probe > 0, "probe", self.probe, "above 0")
        require(self.start_std >= 0, "start_std", self.start_std, ">= 0")

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        with attack_mode(model):
            perception = self.lpips.of(model, x)
            with torch.no_grad():
                clean = perception.features(x)
            x_adv = gaussian_start(x, self.start_std, generator).clamp(0.0, 1.0)
            left = torch.arange(len(x), device=x.device)
            for _ in range(self.steps):
                moved, fooled = self._step(perception, x_adv[left], y[left], clean[left])
                left = left[~fooled]
                if len(left) == 0:
                    break
                x_adv[left] = project_lpips(
                    perception, moved[~fooled], x[left], clean[left], self.bound
                )
            return check_inside(perception, x_adv, x, clean, self.bound)

    def _step(
        self, perception: PerceptualModel, x_adv: Tensor, y: Tensor, clean: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(images one step on, which of them had fooled the model inside the ball before it)."""
        point = x_adv.detach().requires_grad_()
        logits, features = perception.logits_and_features(point)
        gain = margin(logits, y).clamp_max(self.confidence)
        slope = input_gradient(gain.sum(), point, keep_graph=True)
        inside = lpips_distance(features, clean) <= self.bound
        here = Linearised(perception, point, features, self.probe)
        direction = conjugate_gradients(here.gram, slope, self.cg_steps)
        length = per_example(here.push(direction).norm(dim=1), x_adv).clamp_min(TINY)
        step = (self.step_size / length) * direction
        steep = (l2_norm(slope) >= FLAT) & per_example(step.flatten(1).isfinite().all(dim=1), step)
        moved = torch.where(steep, x_adv + step, x_adv)
        return moved, (predicted(logits) != y) & inside

    @property
    def own_radius(self) -> tuple[str, float]:
        """What its images are within, as results name it."""
        return "lpips", self.bound
