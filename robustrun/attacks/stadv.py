"""StAdv: pixels are moved, not changed (Xiao et al. 2018, https://arxiv.org/abs/1801.02612), with a
bound on how far (Laidlaw et al. 2021, https://arxiv.org/abs/2006.12655).
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import Norm, check_threat_model
from robustrun.attacks.search.cascade import run_until_fooled
from robustrun.attacks.search.transformed import search
from robustrun.compute.modes import attack_mode
from robustrun.errors import require
from robustrun.types import ATTACKS


@ATTACKS.register("stadv")
@dataclass(frozen=True)
class StAdv:
    """Each pixel takes its colour from a short distance away, by bilinear interpolation.

    Adam on margin - smoothness * sum of the differences between neighbours' displacements, both
    parts of each displacement within `bound`. The bound is a share of half the image's side: 0.05
    is 0.8 of a pixel in an image of 32. Beyond the edge, the edge is repeated. Without randomness.
    """

    norm: Norm  # with epsilon, the threat model that training borrows
    epsilon: float  # pixel units
    bound: float  # share of half the image's side: the ball of this attack
    steps: int
    lr: float  # of Adam, in the units of the bound
    smoothness: float  # weight of the differences between neighbours

    bounded: ClassVar[bool] = False  # in no ball of pixels
    adversarial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        within = 0 < self.bound <= 2
        require(within, "bound", self.bound, "a share of half the side, above 0, up to 2")
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(self.smoothness >= 0, "smoothness", self.smoothness, "a weight >= 0")

    @property
    def own_radius(self) -> tuple[str, float]:
        """What its images are within, as results name it."""
        return "flow", self.bound

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        with attack_mode(model):
            return run_until_fooled(model, x, y, [partial(self._run, model, x, y)])

    def _run(self, model: nn.Module, x: Tensor, y: Tensor, left: Tensor) -> Tensor:
        flow = x.new_zeros(len(left), *x.shape[2:], 2)
        return search(
            model,
            x[left],
            y[left],
            flow,
            displace,
            bound=self.bound,
            smoothness=self.smoothness,
            lr=self.lr,
            steps=self.steps,
        )


def displace(x: Tensor, flow: Tensor) -> Tensor:
    """The images whose pixels come from `flow` (N x H x W x 2: across, down) away in `x`."""
    height, width = x.shape[2:]
    down, across = (
        (2 * torch.arange(size, dtype=x.dtype, device=x.device) + 1) / size - 1
        for size in (height, width)
    )
    places = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    # The flow is clamped to the bound; interpolated colours need a clamp for rounding alone.
    moved = F.grid_sample(x, places + flow, padding_mode="border", align_corners=False)
    return moved.clamp(0.0, 1.0)
