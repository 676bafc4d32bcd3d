"""Wide residual networks (Zagoruyko and Komodakis, https://arxiv.org/abs/1605.07146)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.errors import require
from robustrun.models.initial_weights import started
from robustrun.models.normalize import Normalize, check_statistics, require_size
from robustrun.types import MODELS, Shape

SMALLEST = 4  # two stages halve the side
NAMED = {"wide_resnet28_10": (28, 10), "wide_resnet34_10": (34, 10)}  # depth, widen_factor


@MODELS.register("wide_resnet", *NAMED)
@dataclass(frozen=True)
class WideResNet:
    """WRN-depth-widen_factor; WRN-34-10 is the field's usual large network.

    WRN-28-10 and WRN-34-10 have 36,479,194 and 46,160,474 parameters for colour images and 10
    classes.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = {"weights": "random"}

    name: Literal["wide_resnet", "wide_resnet28_10", "wide_resnet34_10"]
    depth: int  # layers: 4 + 6 for each block of a stage
    widen_factor: int  # multiple of 16, 32 and 64 channels
    dropout: float  # between the two convolutions of a block
    weights: str  # random, a file, or a finished run's folder
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        require(self.depth >= 10 and self.depth % 6 == 4, "depth", self.depth, "10, 16, 22, 28 …")
        require(self.widen_factor >= 1, "widen_factor", self.widen_factor, "at least 1")
        size = (self.depth, self.widen_factor)
        right = f"{NAMED.get(self.name)} by its name; model=wide_resnet takes others"
        require(NAMED.get(self.name, size) == size, "(depth, widen_factor)", size, right)
        require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")
        check_statistics(self.mean, self.std)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        require_size(shape, SMALLEST, self.name)
        normalize = Normalize(self.mean, self.std, shape[0])
        network = WideResNetNetwork(normalize, shape[0], classes, self)
        return started(network, self.weights, normalize, classes)


class WideBlock(nn.Module):
    """Pre-activation block; where the width changes, the shortcut is a 1 x 1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.projection: nn.Module | None = None
        if inputs != outputs:
            self.projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        shortcut = x if self.projection is None else self.projection(active)
        inner = self.dropout(F.relu(self.bn2(self.conv1(active))))
        out: Tensor = self.conv2(inner) + shortcut
        return out


class WideResNetNetwork(nn.Module):
    """Three stages of (depth - 4) / 6 blocks each."""

    def __init__(
        self, normalize: Normalize, channels: int, classes: int, settings: WideResNet
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.stages, inputs = nn.ModuleList(), 16
        dropout, further = settings.dropout, (settings.depth - 4) // 6 - 1
        for base, stride in ((16, 1), (32, 2), (64, 2)):
            width = base * settings.widen_factor
            blocks = [WideBlock(inputs, width, stride, dropout)]
            blocks += [WideBlock(width, width, 1, dropout) for _ in range(further)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = width
        self.bn = nn.BatchNorm2d(inputs)
        self.linear = nn.Linear(inputs, classes)
        self._initialise()

    def _initialise(self) -> None:
        """He et al.'s normal weights by fan-out, as TRADES' authors start from."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)

    def with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits and the three stages' outputs, the last one after normalisation and ReLU."""
        features, now = [], self.conv1(self.normalize(x))
        for stage in self.stages:
            now = stage(now)
            features.append(now)
        features[-1] = F.relu(self.bn(now))
        return self.linear(features[-1].mean(dim=(2, 3))), features

    def forward(self, x: Tensor) -> Tensor:
        return self.with_features(x)[0]
