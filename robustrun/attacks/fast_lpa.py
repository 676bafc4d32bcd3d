"""Fast-LPA: a fast Lagrangian perceptual attack, the one that PAT trains with
(Laidlaw et al. 2021, https://arxiv.org/abs/2006.12655, section 4 and algorithm 3).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import Norm, check_threat_model
from robustrun.attacks.perceptual.lagrangian import LagrangianSearch
from robustrun.attacks.perceptual.lpips import LPIPS
from robustrun.attacks.perceptual.lpips_ball import check_inside, project_lpips
from robustrun.compute.modes import attack_mode
from robustrun.errors import require
from robustrun.types import ATTACKS


@ATTACKS.register("fast_lpa")
@dataclass(frozen=True)
class FastLPA:
    """Fast-LPA as an evaluation attack: one Lagrangian search, then back into the LPIPS ball."""

    norm: Norm  # with epsilon, the threat model that training borrows
    epsilon: float  # pixel units
    bound: float  # LPIPS distance: the ball of this attack
    steps: int
    penalty: float
    probe: float
    start_std: float
    lpips: LPIPS

    bounded: ClassVar[bool] = False  # in no ball of pixels; the LPIPS ball is checked here
    adversarial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.bound >= 0, "bound", self.bound, "an LPIPS distance >= 0")
        self._search()

    def _search(self) -> LagrangianSearch:
        return LagrangianSearch(self.steps, self.penalty, self.probe, self.start_std)

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        with attack_mode(model):
            perception = self.lpips.of(model, x)
            x_adv = self._search()(perception, x, y, self.bound, generator)
            with torch.no_grad():
                clean = perception.features(x)
            x_adv = project_lpips(perception, x_adv, x, clean, self.bound)
            return check_inside(perception, x_adv, x, clean, self.bound)

    @property
    def own_radius(self) -> tuple[str, float]:
        """What its images are within, as results name it."""
        return "lpips", self.bound
