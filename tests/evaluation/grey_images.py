"""Grey images, and a linear network whose distance from each is known."""

from typing import Any

import torch
from torch import Tensor, nn

from robustrun.attacks.pgd import PGD
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.curve import AccuracyCurve
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.setting import Setting

CPU = torch.device("cpu")


def linear(boundary: float = 0.5) -> nn.Module:
    """Two classes; class 1 where the mean of the 4 pixels is above `boundary`."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
        model[1].bias.copy_(4 * boundary * torch.tensor([1.0, -1.0]))
    return model


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


def pgd(**changes: object) -> PGD:
    settings = {
        "norm": "linf",
        "epsilon": 0.1,
        "steps": 5,
        "step_size": 0.05,
        "restarts": 2,
        "random_start": True,
        "loss": "ce",
    }
    return PGD(**settings | changes)  # type: ignore[arg-type]


def measured(attacks: dict[str, Any], levels: list[float], labels: list[int]):
    images = TensorImages(grey(*levels), torch.tensor(labels))
    curve = AccuracyCurve("pgd", attacks["pgd"], (2.0,))
    return measure(linear(), images, 2, [*accuracies(attacks), curve], Setting(0, 2, CPU))
