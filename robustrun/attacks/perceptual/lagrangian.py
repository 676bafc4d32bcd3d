"""The Lagrangian search of Fast-LPA and of PAT, and the step that LPA shares with it
(Laidlaw et al. 2021, https://arxiv.org/abs/2006.12655, section 4 and algorithm 3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustrun.attacks.geometry.ball import gaussian_start, per_example
from robustrun.attacks.perceptual.lpips import PerceptualModel, lpips_distance
from robustrun.attacks.search.ascent import input_gradient
from robustrun.errors import require
from robustrun.losses import margin

DECAY = 0.1  # over the search the step falls to this share, and the penalty rises from it
GRADIENT_OFFSET = 1e-8
RATE_OFFSET = 1e-4  # keeps the step finite where the features hardly change


@dataclass(frozen=True)
class LagrangianSearch:
    """Climbs margin - lambda * max(0, d - bound), d the LPIPS distance to the clean image.

    A step goes along the normalised gradient, so far that d changes by `bound` * 0.1^(t/T); a
    second forward pass, `probe` further along, measures how far that is in pixels. lambda is
    `penalty` * 0.1^(1 - t/T). The result is not projected: d only stays near the bound.
    """

    steps: int
    penalty: float  # lambda at the end of the search
    probe: float  # Euclidean length in pixel units over which the change of d is measured
    start_std: float  # of the normal noise that the search starts with, pixel units

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.penalty >= 0, "penalty", self.penalty, ">= 0")
        require(self.probe > 0, "probe", self.probe, "above 0")
        # At the clean image itself d has no gradient, and a robust model may have none either.
        require(self.start_std > 0, "start_std", self.start_std, "above 0")

    def __call__(
        self,
        perception: PerceptualModel,
        x: Tensor,
        y: Tensor,
        bound: float,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images in the image box; the model must be held by `attack_mode`."""
        with torch.no_grad():
            clean = perception.features(x)
        x_adv = gaussian_start(x, self.start_std, generator)
        for step in range(self.steps):
            x_adv = self._climb(perception, x_adv, y, clean, bound, step / self.steps)
        return x_adv

    def _climb(
        self,
        perception: PerceptualModel,
        x_adv: Tensor,
        y: Tensor,
        clean: Tensor,
        bound: float,
        done: float,
    ) -> Tensor:
        """One step; `done` is the share of the search that is done, 0 to 1."""
        point = x_adv.detach().requires_grad_()
        logits, features = perception.logits_and_features(point)
        excess = (lpips_distance(features, clean) - bound).clamp_min(0.0)
        penalty = self.penalty * DECAY ** (1 - done)
        slope = input_gradient((margin(logits, y) - penalty * excess).sum(), point)
        length = bound * DECAY**done
        return lpips_step(perception, x_adv, features, slope, length, self.probe, RATE_OFFSET)


def lpips_step(
    perception: PerceptualModel,
    x_adv: Tensor,
    features: Tensor,
    slope: Tensor,
    length: float,
    probe: float,
    offset: float,
) -> Tensor:
    """A step along `slope` that changes the features by about `length`; `features` are x_adv's.

    An image whose slope is not finite, since its logits are not, stays where it is.
    """
    slope_norm = slope.flatten(1).norm(dim=1)
    slope = slope.where(per_example(slope_norm.isfinite(), slope), 0.0)
    slope_norm = slope_norm.where(slope_norm.isfinite(), 0.0)
    direction = slope / per_example(slope_norm + GRADIENT_OFFSET, slope)
    with torch.no_grad():
        ahead = perception.features(x_adv + probe * direction)
        rate = lpips_distance(ahead, features) / probe
        return (x_adv + per_example(length / (rate + offset), slope) * direction).clamp(0.0, 1.0)
