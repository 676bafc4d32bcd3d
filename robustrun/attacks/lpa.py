"""LPA: the Lagrangian perceptual attack (Laidlaw et al. 2021, https://arxiv.org/abs/2006.12655,
section 4 and algorithm 2).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import Norm, check_threat_model, gaussian_start
from robustrun.attacks.perceptual.lagrangian import lpips_step
from robustrun.attacks.perceptual.lpips import LPIPS, PerceptualModel, lpips_distance
from robustrun.attacks.perceptual.lpips_ball import check_inside, project_lpips
from robustrun.attacks.search.ascent import input_gradient
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import predicted
from robustrun.errors import require
from robustrun.losses import margin
from robustrun.types import ATTACKS

DECAY = 0.1  # the step falls to this share of the bound over one round
PENALTY_GROWTH = 10.0
RATE_OFFSET = 1e-8  # keeps the step finite where the features do not change


@ATTACKS.register("lpa")
@dataclass(frozen=True)
class LPA:
    """Climbs min(margin, confidence) - lambda * max(0, d - bound) in several rounds.

    After a round, lambda grows tenfold for the images that are outside the ball. An image is done
    as soon as it fools the model inside the ball, and that image is kept. The authors project the
    others once, at the end; here each round ends with a projection that is tried on the model,
    since late rounds, with their large lambda, can lose what an early one had nearly found.
    A model that measures the distance itself (lpips.network self) is easily overrated: judge by
    a fixed network.
    """

    norm: Norm  # with epsilon, the threat model that training borrows
    epsilon: float  # pixel units
    bound: float  # LPIPS distance: the ball of this attack
    steps: int  # of each round
    rounds: int
    penalty: float  # lambda in the first round
    confidence: float  # margin beyond which it counts no more, in logits
    probe: float  # Euclidean length in pixel units over which the change of d is measured
    start_std: float  # of the normal noise that the search starts with, pixel units
    lpips: LPIPS

    bounded: ClassVar[bool] = False  # in no ball of pixels; the LPIPS ball is checked here
    adversarial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.bound >= 0, "bound", self.bound, "an LPIPS distance >= 0")
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.rounds >= 1, "rounds", self.rounds, "at least 1")
        require(self.penalty > 0, "penalty", self.penalty, "above 0")
        require(self.confidence >= 0, "confidence", self.confidence, "a margin >= 0 in logits")
        require(self.probe > 0, "probe", self.probe, "above 0")
        require(self.start_std > 0, "start_std", self.start_std, "above 0")

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        with attack_mode(model):
            perception = self.lpips.of(model, x)
            with torch.no_grad():
                clean = perception.features(x)
            x_adv = gaussian_start(x, self.start_std, generator).clamp(0.0, 1.0)
            x_adv = self._search(perception, x_adv, x, y, clean)
            return check_inside(perception, x_adv, x, clean, self.bound)

    def _search(
        self, perception: PerceptualModel, x_adv: Tensor, x: Tensor, y: Tensor, clean: Tensor
    ) -> Tensor:
        """Images in the ball; the search continues from where it was, not from their
        projections."""
        images = x_adv.clone()
        penalty = x.new_full((len(x),), self.penalty)
        left = torch.arange(len(x), device=x.device)
        for _ in range(self.rounds):
            tried = left
            left, distance = self._round(perception, x_adv, y, clean, penalty, left)
            images[tried] = x_adv[tried]
            if len(left) == 0:
                break
            images[left] = project_lpips(perception, x_adv[left], x[left], clean[left], self.bound)
            penalty[left[distance >= self.bound]] *= PENALTY_GROWTH
            with torch.no_grad():
                left = left[predicted(perception.model(images[left])) == y[left]]
        return images

    def _round(
        self,
        perception: PerceptualModel,
        x_adv: Tensor,
        y: Tensor,
        clean: Tensor,
        penalty: Tensor,
        left: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Moves `x_adv` in place; returns who is left, and their distance before the last step."""
        distance = clean.new_zeros(len(left))
        for step in range(self.steps):
            if len(left) == 0:
                break
            size = self.bound * DECAY ** (step / self.steps)
            moved, distance, fooled = self._step(
                perception, x_adv[left], y[left], clean[left], penalty[left], size
            )
            left, distance = left[~fooled], distance[~fooled]
            x_adv[left] = moved[~fooled]
        return left, distance

    def _step(
        self,
        perception: PerceptualModel,
        x_adv: Tensor,
        y: Tensor,
        clean: Tensor,
        penalty: Tensor,
        size: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(images one step on, their distance before it, who fooled the model inside the ball)."""
        point = x_adv.detach().requires_grad_()
        logits, features = perception.logits_and_features(point)
        distance = lpips_distance(features, clean)
        gain = margin(logits, y).clamp_max(self.confidence)
        objective = gain - penalty * (distance - self.bound).clamp_min(0.0)
        slope = input_gradient(objective.sum(), point)
        fooled = (predicted(logits) != y) & (distance <= self.bound)
        moved = lpips_step(perception, x_adv, features, slope, size, self.probe, RATE_OFFSET)
        return moved, distance.detach(), fooled

    @property
    def own_radius(self) -> tuple[str, float]:
        """What its images are within, as results name it."""
        return "lpips", self.bound
