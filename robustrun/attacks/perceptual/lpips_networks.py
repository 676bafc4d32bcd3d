"""Fixed networks through whose activations perceptual distances are measured: AlexNet and VGG-16
(Zhang et al. 2018, https://arxiv.org/abs/1801.03924), and the AlexNet for CIFAR
of Laidlaw et al. (2021, https://arxiv.org/abs/2006.12655).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.errors import ConfigError, DataError
from robustrun.registry import Registry
from robustrun.storage.downloads import published_weights
from robustrun.storage.weights import Weights, read

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR_ALEXNET_URL = "https://perceptual-advex.s3.us-east-2.amazonaws.com/alexnet_cifar.pt"
RANDOM_SEED = 0  # of random weights: every process measures with the same network


class LPIPSNetwork(Protocol):
    """Where an LPIPS network comes from; such a class is registered under its name."""

    def __init__(self, weights: str | None, enlarge_to: int | None) -> None: ...

    def load(self) -> nn.Module:
        """A network from [0, 1] images to a list of activations, each N x C x H x W."""
        ...


LPIPS_NETWORKS: Registry[LPIPSNetwork] = Registry(
    "lpips.network", {"load": "a method () that returns the network"}
)


class FeatureNetwork(nn.Module):
    """Runs a stack of layers and shows some of the activations; normalises as for ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: nn.Sequential,
        output_layers: tuple[int, ...],
        smallest: int,
        enlarge_to: int | None,
    ) -> None:
        super().__init__()
        self.features = features[: output_layers[-1] + 1]
        self.output_layers = output_layers
        self.smallest = smallest  # pixels; below it a pooling layer has nothing left to pool
        self.enlarge_to = enlarge_to
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = (self._fitted(x) - self.mean) / self.std
        activations = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.output_layers:
                activations.append(x)
        return activations

    def _fitted(self, x: Tensor) -> Tensor:
        """Grey as colour, and small images enlarged."""
        if self.enlarge_to and min(x.shape[2:]) < self.enlarge_to:
            scale = self.enlarge_to / min(x.shape[2:])
            size = [round(side * scale) for side in x.shape[2:]]
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        if min(x.shape[2:]) < self.smallest:
            raise ConfigError(
                f"lpips.enlarge_to is {self.enlarge_to}, but lpips.network needs images of at "
                f"least {self.smallest} pixels a side, and these have {min(x.shape[2:])}: "
                f"set it to 64, say."
            )
        return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


@LPIPS_NETWORKS.register("alexnet")
@dataclass(frozen=True)
class AlexNet:
    """torchvision's AlexNet, trained on ImageNet: the activations of its five convolutions."""

    weights: str | None
    enlarge_to: int | None

    def load(self) -> nn.Module:
        from torchvision.models import AlexNet_Weights, alexnet  # seconds: only where needed

        with torch.device("meta"):  # its classifier is not wanted
            features = alexnet().features
        network = FeatureNetwork(features, (1, 4, 7, 9, 11), 31, self.enlarge_to)
        return filled(network, self.weights, AlexNet_Weights.IMAGENET1K_V1.url)


@LPIPS_NETWORKS.register("vgg16")
@dataclass(frozen=True)
class VGG16:
    """torchvision's VGG-16, trained on ImageNet: the last activation of each of its five blocks."""

    weights: str | None
    enlarge_to: int | None

    def load(self) -> nn.Module:
        from torchvision.models import VGG16_Weights, vgg16

        with torch.device("meta"):
            features = vgg16().features
        network = FeatureNetwork(features, (3, 8, 15, 22, 29), 16, self.enlarge_to)
        return filled(network, self.weights, VGG16_Weights.IMAGENET1K_V1.url)


@LPIPS_NETWORKS.register("alexnet_cifar")
@dataclass(frozen=True)
class CIFARAlexNet:
    """The AlexNet for 32 x 32 images with which the authors of PAT bound attacks on CIFAR."""

    weights: str | None
    enlarge_to: int | None

    def load(self) -> nn.Module:
        with torch.device("meta"):
            features = nn.Sequential(
                *(nn.Conv2d(3, 64, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(64, 192, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
                *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
                *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
            )
        network = FeatureNetwork(features, (1, 4, 7, 9, 11), 7, self.enlarge_to)
        return filled(network, self.weights, CIFAR_ALEXNET_URL)


def filled(network: FeatureNetwork, weights: str | None, url: str) -> FeatureNetwork:
    """The network, made on the meta device, with published, random or the user's weights."""
    network.features.to_empty(device="cpu")
    if weights == "random":
        return _randomised(network)
    source = weights or url
    state = _layers_only(read(weights, "lpips.weights") if weights else _published(url), source)
    try:
        network.features.load_state_dict({k: v for k, v in state.items() if k in _keys(network)})
    except RuntimeError as error:
        raise DataError(f"{source} holds weights of another network: {error}") from None
    return network


def _keys(network: FeatureNetwork) -> set[str]:
    return set(network.features.state_dict())


def _randomised(network: FeatureNetwork) -> FeatureNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        for layer in network.features:
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
    return network


def _published(url: str) -> Weights:
    instead = "name a file as lpips.weights, or set lpips.network=self"
    return published_weights(url, "lpips.network", instead)


def _layers_only(state: Weights, source: str) -> Weights:
    """The convolutions of a state dict, whatever a network puts around them."""
    mark = "features."
    convolutions = {k[k.index(mark) + len(mark) :]: v for k, v in state.items() if mark in k}
    if not convolutions:
        raise DataError(f"{source} holds no layers of a network (no key has {mark!r} in its name).")
    return convolutions
