"""ReColorAdv: every colour is replaced by one near it, wherever it occurs (Laidlaw & Feizi 2019,
https://arxiv.org/abs/1906.00001), with the settings that Laidlaw et al. judge by (2021,
https://arxiv.org/abs/2006.12655).
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import Norm, check_threat_model
from robustrun.attacks.geometry.colour import to_luv, to_srgb
from robustrun.attacks.search.cascade import run_until_fooled
from robustrun.attacks.search.transformed import search
from robustrun.compute.modes import attack_mode
from robustrun.errors import ConfigError, require
from robustrun.types import ATTACKS


@ATTACKS.register("recolor")
@dataclass(frozen=True)
class ReColorAdv:
    """A lattice of colour changes in CIELUV, interpolated between its points, one for each image.

    Adam on margin - smoothness * sum of the differences between neighbouring points, each part of
    each change within `bound` (of a space scaled to [0, 1]). The authors also move the lattice's
    points into the screen's gamut at each step; here colours are, when they are shown. For colour
    images only. Without randomness.
    """

    norm: Norm  # with epsilon, the threat model that training borrows
    epsilon: float  # pixel units
    bound: float  # of CIELUV scaled to [0, 1]: the ball of this attack
    steps: int
    lr: float  # of Adam, in the units of the bound
    smoothness: float  # weight of the differences between neighbours
    lattice: tuple[int, ...]  # points along L, u and v

    bounded: ClassVar[bool] = False  # in no ball of pixels
    adversarial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(0 < self.bound <= 1, "bound", self.bound, "above 0, up to 1")
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(self.smoothness >= 0, "smoothness", self.smoothness, "a weight >= 0")
        points = len(self.lattice) == 3 and min(self.lattice) >= 2
        require(points, "lattice", list(self.lattice), "three numbers of points, each at least 2")

    @property
    def own_radius(self) -> tuple[str, float]:
        """What its images are within, as results name it."""
        return "cieluv", self.bound

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        self.require_usable(model, x)
        with attack_mode(model):
            return run_until_fooled(model, x, y, [partial(self._run, model, x, y)])

    def require_usable(self, model: nn.Module, x: Tensor) -> None:
        """ConfigError unless the images have colours."""
        if x.shape[1] != 3:
            raise ConfigError(
                f"attack recolor needs colour images, but these have {x.shape[1]} channel(s)."
            )

    def _run(self, model: nn.Module, x: Tensor, y: Tensor, left: Tensor) -> Tensor:
        return search(
            model,
            x[left],
            y[left],
            x.new_zeros(len(left), *self.lattice, 3),
            recolour,
            bound=self.bound,
            smoothness=self.smoothness,
            lr=self.lr,
            steps=self.steps,
        )


def recolour(x: Tensor, changes: Tensor) -> Tensor:
    """The images with each colour moved by what the lattice (N x L x u x v x 3) says there."""
    colours = to_luv(x)
    # grid_sample wants the places in the order of the last dimension first, from -1 to 1.
    places = (2 * colours - 1).flip(1).permute(0, 2, 3, 1)[:, None]
    lattice = changes.permute(0, 4, 1, 2, 3)
    moved = F.grid_sample(lattice, places, padding_mode="border", align_corners=True)
    return to_srgb(colours + moved[:, :, 0])
