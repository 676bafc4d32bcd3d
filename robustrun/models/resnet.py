"""Residual networks for small images: ResNet (He et al. 2015, https://arxiv.org/abs/1512.03385) and
PreAct ResNet (He et al. 2016, https://arxiv.org/abs/1603.05027), with a 3 x 3 first layer and no
max-pool.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.models.initial_weights import started
from robustrun.models.normalize import Normalize, check_statistics, require_size
from robustrun.types import MODELS, Shape

SMALLEST = 8  # pixels a side, which three stages halve

Block = Callable[[int, int, int], nn.Module]  # input channels, output channels, stride


@MODELS.register("resnet18", "resnet50")
@dataclass(frozen=True)
class ResNet:
    """Four stages of 64 to 512 channels (ResNet-50: times 4); batch norm after each convolution.

    11,173,962 (ResNet-18) and 23,520,842 (ResNet-50) parameters for colour images and 10 classes.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = {"weights": "random"}

    name: Literal["resnet18", "resnet50"]
    weights: str  # random, a file, or a finished run's folder
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        check_statistics(self.mean, self.std)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        require_size(shape, SMALLEST, self.name)
        block, outputs, depths = {
            "resnet18": (basic_block, (64, 128, 256, 512), (2, 2, 2, 2)),
            "resnet50": (bottleneck_block, (256, 512, 1024, 2048), (3, 4, 6, 3)),
        }[self.name]
        first = nn.Sequential(conv3x3(shape[0], 64), nn.BatchNorm2d(64), nn.ReLU())
        network = ResidualNetwork(
            Normalize(self.mean, self.std, shape[0]),
            first,
            stages(block, 64, outputs, depths),
            nn.Identity(),
            nn.Linear(outputs[-1], classes),
        )
        return started(network, self.weights, network.normalize, classes)


@MODELS.register("preact_resnet18")
@dataclass(frozen=True)
class PreActResNet18:
    """Four stages of 64 to 512 channels; batch norm and ReLU before each convolution and the end.

    11,172,170 parameters for colour images and 10 classes, as in Rice et al. (2020) and AWP. Some
    others leave out the batch norm at the end and have 11,171,146.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = {"weights": "random"}

    weights: str  # random, a file, or a finished run's folder
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        check_statistics(self.mean, self.std)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        require_size(shape, SMALLEST, "preact_resnet18")
        network = ResidualNetwork(
            Normalize(self.mean, self.std, shape[0]),
            conv3x3(shape[0], 64),
            stages(PreActBlock, 64, (64, 128, 256, 512), (2, 2, 2, 2)),
            nn.Sequential(nn.BatchNorm2d(512), nn.ReLU()),
            nn.Linear(512, classes),
        )
        return started(network, self.weights, network.normalize, classes)


class ResidualNetwork(nn.Module):
    """Normalisation, a first layer, stages, an end, the average over all pixels, a linear layer."""

    def __init__(
        self,
        normalize: Normalize,
        first: nn.Module,
        stages: nn.ModuleList,
        end: nn.Module,
        linear: nn.Linear,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.first = first
        self.stages = stages
        self.end = end
        self.linear = linear

    def with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and what each stage puts out, the last one as it is averaged."""
        x = self.first(self.normalize(x))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        outputs[-1] = self.end(x)
        return self.linear(outputs[-1].mean(dim=(2, 3))), outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.with_features(x)[0]


class ResidualBlock(nn.Module):
    """relu(branch(x) + shortcut(x)), which is how a ResNet's blocks end."""

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


class PreActBlock(nn.Module):
    """Two convolutions, batch norm and ReLU before each; a projection starts after the first."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        keeps_shape = stride == 1 and inputs == outputs
        self.projection = None if keeps_shape else conv1x1(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        shortcut = x if self.projection is None else self.projection(active)
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active)))) + shortcut
        return out


def basic_block(inputs: int, outputs: int, stride: int) -> ResidualBlock:
    branch = nn.Sequential(
        conv3x3(inputs, outputs, stride),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        conv3x3(outputs, outputs),
        nn.BatchNorm2d(outputs),
    )
    return ResidualBlock(branch, shortcut(inputs, outputs, stride))


def bottleneck_block(inputs: int, outputs: int, stride: int) -> ResidualBlock:
    narrow = outputs // 4
    branch = nn.Sequential(
        conv1x1(inputs, narrow),
        nn.BatchNorm2d(narrow),
        nn.ReLU(),
        conv3x3(narrow, narrow, stride),
        nn.BatchNorm2d(narrow),
        nn.ReLU(),
        conv1x1(narrow, outputs),
        nn.BatchNorm2d(outputs),
    )
    return ResidualBlock(branch, shortcut(inputs, outputs, stride))


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))


def stages(
    block: Block, inputs: int, outputs: tuple[int, ...], depths: tuple[int, ...]
) -> nn.ModuleList:
    """One stage for each of `outputs`; all but the first halve the image in their first block."""
    modules = nn.ModuleList()
    for width, depth in zip(outputs, depths, strict=True):
        first = block(inputs, width, 2 if len(modules) else 1)
        modules.append(nn.Sequential(first, *(block(width, width, 1) for _ in range(depth - 1))))
        inputs = width
    return modules


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
