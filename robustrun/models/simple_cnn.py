"""The research notebook's small CNN (LeNet-5's layout with max-pooling), for any image size."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.errors import require
from robustrun.models.initial_weights import started
from robustrun.models.normalize import Normalize, check_statistics, require_size
from robustrun.types import MODELS, Shape

SMALLEST = 4  # pixels a side, which two poolings halve


@MODELS.register("simple_cnn")
@dataclass(frozen=True)
class SimpleCNN:
    """conv5-relu-pool, conv5-relu-pool, then linear layers; 62,006 parameters at 3 x 32 x 32, K=10.

    Images under 32 pixels keep their size in the convolutions (padding 2), since two unpadded 5 x 5
    convolutions and two poolings would leave nothing of an 8 x 8 digit.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = {"weights": "random"}

    widths: tuple[int, int]  # channels of the two convolutions
    hidden: tuple[int, int]  # units of the two linear layers before the last
    weights: str  # random, a file, or a finished run's folder
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        require(min(self.widths) >= 1, "widths", list(self.widths), "at least 1 each")
        require(min(self.hidden) >= 1, "hidden", list(self.hidden), "at least 1 each")
        check_statistics(self.mean, self.std)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        require_size(shape, SMALLEST, "simple_cnn")
        network = SimpleCNNNetwork(self, shape, classes)
        return started(network, self.weights, network.normalize, classes)


class SimpleCNNNetwork(nn.Module):
    """The network of `SimpleCNN`."""

    def __init__(self, settings: SimpleCNN, shape: Shape, classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        padding = 0 if min(height, width) >= 32 else 2
        first, second = settings.widths
        self.normalize = Normalize(settings.mean, settings.std, channels)
        self.conv1 = nn.Conv2d(channels, first, 5, padding=padding)
        self.conv2 = nn.Conv2d(first, second, 5, padding=padding)
        rest = [_pooled(_pooled(side, padding), padding) for side in (height, width)]
        self.fc1 = nn.Linear(second * rest[0] * rest[1], settings.hidden[0])
        self.fc2 = nn.Linear(*settings.hidden)
        self.fc3 = nn.Linear(settings.hidden[1], classes)

    def with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and both convolutions' activations before pooling."""
        one = F.relu(self.conv1(self.normalize(x)))
        two = F.relu(self.conv2(F.max_pool2d(one, 2)))
        flat = F.max_pool2d(two, 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(flat))))), [one, two]

    def forward(self, x: Tensor) -> Tensor:
        return self.with_features(x)[0]


def _pooled(side: int, padding: int) -> int:
    """Pixels along a side after one 5 x 5 convolution and one 2 x 2 pooling."""
    return (side + 2 * padding - 4) // 2
