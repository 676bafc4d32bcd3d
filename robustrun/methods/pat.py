"""PAT: perceptual adversarial training (Laidlaw et al. 2021, https://arxiv.org/abs/2006.12655)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustrun.attacks.perceptual.lagrangian import LagrangianSearch
from robustrun.attacks.perceptual.lpips import LPIPS
from robustrun.compute.batch_parts import only
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import predicted
from robustrun.errors import require
from robustrun.types import METHODS, Learner


@METHODS.register("pat")
@dataclass(frozen=True)
class PAT:
    """L = CE(f(x'), y), where x' comes from Fast-LPA near the LPIPS bound around x.

    The threat model in training is the LPIPS ball alone; `attack.epsilon` only judges. Without
    projection d(x, x') may end a little beyond the bound, as the authors have it.
    """

    bound: float  # LPIPS distance
    only_attack_correct: bool  # images that the model gets wrong stay clean
    inner: LagrangianSearch
    lpips: LPIPS

    def __post_init__(self) -> None:
        require(self.bound > 0, "bound", self.bound, "an LPIPS distance above 0")

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        model = learner.model
        with attack_mode(model):
            perception = self.lpips.of(model, x)
            if not self.only_attack_correct:
                return self.inner(perception, x, y, self.bound)
            x_adv = x.clone()
            with torch.no_grad():
                right = (predicted(model(x)) == y).nonzero().squeeze(1)
            with only(right) as tried:
                if len(tried):
                    found = self.inner(perception, x[tried], y[tried], self.bound)
                    x_adv[right] = found[: len(right)]
            return x_adv

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return learner.cross_entropy(learner.model(x_adv), y)
