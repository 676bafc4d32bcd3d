"""Linear layers on frozen features of VGG-16 (Simonyan and Zisserman 2015,
https://arxiv.org/abs/1409.1556), as the research notebook has them for its PAT.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.errors import require
from robustrun.models.initial_weights import digest_of, file_of, note, started
from robustrun.models.normalize import check_statistics, colour, require_size
from robustrun.models.weights import INSTEAD, aligned, fill
from robustrun.storage.downloads import published_weights
from robustrun.storage.weights import Weights, read
from robustrun.types import MODELS, Shape

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels
PUBLISHED = "torchvision VGG16_Weights.IMAGENET1K_V1"
WHOLE = "fc1.weight"  # in a file of a whole network of this kind, not of VGG-16 alone
LAYERS = sum(2 * len(block) + 1 for block in BLOCKS)


@MODELS.register("vgg_features")
@dataclass(frozen=True)
class VGGFeatures:
    """The first `layers` of VGG-16, frozen and always in eval mode, then fc 120-84-K.

    The notebook speaks of the features up to the second max-pool, and its slice [:9] ends with the
    activation before it: 128 x 16 x 16 = 32,768 features of a 32 x 32 image. `layers: 10` takes the
    pooling along. Grey images are shown as colour.
    """

    weights: str  # pretrained (on ImageNet), random, a file, or a run's folder
    layers: int  # of torchvision's vgg16().features
    hidden: tuple[int, int]  # units of the two linear layers before the last
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        require(4 <= self.layers <= LAYERS, "layers", self.layers, f"from 4 to {LAYERS}")
        require(min(self.hidden) >= 1, "hidden", list(self.hidden), "at least 1 each")
        check_statistics(self.mean, self.std)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        if self.weights == "random":
            return VGGFeaturesNetwork(self, shape, classes)
        published = self.weights == "pretrained"
        file = "" if published else str(file_of(self.weights))
        state = _published() if published else read(file, "model.weights")
        network = VGGFeaturesNetwork(self, shape, classes)
        if any(name.endswith(WHOLE) for name in state):
            return started(network, self.weights, network.normalize, classes)
        statistics, own = dict(network.normalize.named_buffers()), network.features.state_dict()
        layers = aligned(network.features, state, self.weights, statistics)
        held = {k: layers[k] for k in own if k in layers}
        taken = fill(network.features, held, self.weights)
        source, digest = (PUBLISHED, None) if published else (self.weights, digest_of(file))
        note(network, source, digest, [f"features.{name}" for name in taken])
        return network


class VGGFeaturesNetwork(nn.Module):
    """The network of `VGGFeatures`; its features' weights are random."""

    def __init__(self, settings: VGGFeatures, shape: Shape, classes: int) -> None:
        super().__init__()
        layers = vgg16_features()
        before_pooling = [i for i in range(LAYERS - 1) if isinstance(layers[i + 1], nn.MaxPool2d)]
        self.before_pooling = [i for i in before_pooling if i < settings.layers]
        self.normalize = colour("vgg_features", shape, settings.mean, settings.std)
        self.features = layers[: settings.layers].eval().requires_grad_(False)
        poolings = sum(isinstance(layer, nn.MaxPool2d) for layer in self.features)
        require_size(shape, 2**poolings, "vgg_features")
        flat = self.features(torch.zeros(1, 3, *shape[1:])).numel()
        self.fc1 = nn.Linear(flat, settings.hidden[0])
        self.fc2 = nn.Linear(*settings.hidden)
        self.fc3 = nn.Linear(settings.hidden[1], classes)

    def train(self, mode: bool = True) -> "VGGFeaturesNetwork":
        super().train(mode)
        self.features.eval()
        return self

    def with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the activations that VGG-16's poolings take."""
        x = self.normalize(x)
        activations = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.before_pooling:
                activations.append(x)
        x = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        return self.fc3(x), activations

    def forward(self, x: Tensor) -> Tensor:
        return self.with_features(x)[0]


def vgg16_features() -> nn.Sequential:
    """The convolutional part of VGG-16, numbered as torchvision does, with He's random weights."""
    layers: list[nn.Module] = []
    inputs = 3
    for block in BLOCKS:
        for width in block:
            convolution = nn.Conv2d(inputs, width, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            layers += [convolution, nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _published() -> Weights:
    from torchvision.models import VGG16_Weights  # seconds: only where needed

    return published_weights(VGG16_Weights.IMAGENET1K_V1.url, "model.weights", INSTEAD)
