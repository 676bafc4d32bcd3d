"""The networks of the package, small ones among them, and what tests ask of any."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.models.resnet import PreActResNet18, ResNet
from robustrun.models.simple_cnn import SimpleCNN
from robustrun.models.vgg_features import VGGFeatures
from robustrun.models.wide_resnet import WideResNet
from robustrun.types import Model, Shape

STATISTICS: dict[str, Any] = {"mean": (0.0,), "std": (1.0,)}


PLAIN: dict[str, Any] = {"weights": "random"} | STATISTICS


LINEAR: dict[str, Any] = {"hidden": (120, 84)} | PLAIN


def wide(depth: int, widen_factor: int, name: str = "wide_resnet", dropout: float = 0.0) -> Any:
    return WideResNet(name, depth, widen_factor, dropout, **PLAIN)  # type: ignore[arg-type]


OURS: dict[str, Model] = {
    "simple_cnn": SimpleCNN(widths=(6, 16), **LINEAR),
    "vgg_features": VGGFeatures(layers=9, **LINEAR),
    "resnet18": ResNet(name="resnet18", **PLAIN),
    "resnet50": ResNet(name="resnet50", **PLAIN),
    "preact_resnet18": PreActResNet18(**PLAIN),
    "wide_resnet28_10": wide(28, 10, name="wide_resnet28_10"),
    "wide_resnet34_10": wide(34, 10, name="wide_resnet34_10"),
}


SMALL = ["simple_cnn", "vgg_features", "preact_resnet18"]  # cheap enough to compute with


COLOUR: Shape = (3, 32, 32)


DIGITS: Shape = (1, 8, 8)


# float32 sums in another order: logits of size 1 to 10 differ in the last digits.
ROUNDING: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def sizes(network: nn.Module) -> list[int]:
    return [p.numel() for p in network.parameters()]


def built(name: str, shape: Shape = COLOUR, classes: int = 10) -> Any:
    return OURS[name].build(shape, classes).eval()


def sketched(model: Model, shape: Shape = COLOUR, classes: int = 10) -> Any:
    """The network without memory for its weights: shapes are computed, and nothing else."""
    with torch.device("meta"):
        return model.build(shape, classes)


def set_at_random(network: nn.Module) -> None:
    """Batch norm that does something: fresh layers pass almost everything through."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.running_var):
                nn.init.uniform_(values, 0.5, 1.5)  # type: ignore[arg-type]
            for values in (layer.bias, layer.running_mean):
                nn.init.normal_(values, std=0.1)  # type: ignore[arg-type]


def preact(stages: nn.ModuleList, x: Tensor) -> Tensor:
    """The stages of a PreAct ResNet, after the formulas of the paper."""

    def active(name: str, x: Tensor) -> Tensor:
        mean, var = p[f"{name}.running_mean"], p[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, p[f"{name}.weight"], p[f"{name}.bias"]).clamp_min(0)

    for index, stage in enumerate(stages):
        for number, block in enumerate(cast(nn.Sequential, stage)):
            p = block.state_dict()
            stride = 2 if index > 0 and number == 0 else 1
            first = active("bn1", x)
            inner = active("bn2", F.conv2d(first, p["conv1.weight"], None, stride, padding=1))
            if (projection := p.get("projection.weight")) is not None:
                x = F.conv2d(first, projection, None, stride)
            x = x + F.conv2d(inner, p["conv2.weight"], padding=1)
    return x
