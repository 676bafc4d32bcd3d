"""LPIPS, the distance between what a network sees in two images, as perceptual adversarial training
uses it: without learned weights (Laidlaw et al. 2021, https://arxiv.org/abs/2006.12655, section 3).
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustrun.attacks.perceptual.lpips_networks import LPIPS_NETWORKS
from robustrun.errors import ConfigError, did_you_mean, require
from robustrun.types import HasFeatures

CHANNEL_NORM_OFFSET = 1e-10  # the authors'; where no channel is active the features are zero


def normalised_features(activations: list[Tensor]) -> Tensor:
    """N x D features whose Euclidean distance is LPIPS.

    Each layer phi becomes phi / (||phi||_2 over its channels + 1e-10) / sqrt(H W), in float32 or
    better: half precision is too coarse for the distance between nearly equal vectors.
    """
    layers = []
    for activation in activations:
        phi = activation.to(torch.promote_types(activation.dtype, torch.float32))
        # Not sqrt(sum(phi^2)): its gradient is nan where every channel is zero.
        norm = torch.linalg.vector_norm(phi, dim=1, keepdim=True) + CHANNEL_NORM_OFFSET
        layers.append((phi / (norm * (phi.shape[2] * phi.shape[3]) ** 0.5)).flatten(1))
    return torch.cat(layers, dim=1)


def lpips_distance(features: Tensor, others: Tensor) -> Tensor:
    """LPIPS of each pair of images from their features N x D, shape N."""
    distance: Tensor = torch.linalg.vector_norm(features - others, dim=1)
    return distance


@dataclass(frozen=True)
class PerceptualModel:
    """A model under attack, and the network through whose activations distances are measured."""

    model: nn.Module
    network: nn.Module | None  # images to activations; None: the model itself (self-bounded)

    def logits_and_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The model's logits N x K and the network's features N x D."""
        if self.network is not None:
            return self.model(x), normalised_features(self.network(x))
        logits, activations = _shows_features(self.model).with_features(x)
        return logits, normalised_features(activations)

    def features(self, x: Tensor) -> Tensor:
        if self.network is not None:
            return normalised_features(self.network(x))
        return normalised_features(_shows_features(self.model).with_features(x)[1])

    @torch.no_grad()
    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """LPIPS of each pair of images, shape N."""
        return lpips_distance(self.features(x_adv), self.features(x))


def _shows_features(model: nn.Module) -> HasFeatures:
    if isinstance(model, HasFeatures):
        return model
    raise ConfigError(
        f"lpips.network is 'self', but the model ({type(model).__name__}) does not show its "
        f"activations: choose another model, or one of {', '.join(LPIPS_NETWORKS)} for "
        f"lpips.network."
    )


@dataclass(frozen=True)
class LPIPS:
    """The distance, as the `lpips` block of a YAML file describes it.

    `network`: self (the model that is attacked), or a network: alexnet, alexnet_cifar, vgg16.
    `weights`: null (the network's published ones), random, or a file (.safetensors, .pt, .pth).
    """

    network: str
    weights: str | None
    enlarge_to: int | None  # pixels; smaller images are scaled up for the network; null: never

    def __post_init__(self) -> None:
        networks = {"self", *LPIPS_NETWORKS}
        if self.network not in networks:
            raise ConfigError(
                f"network is {self.network!r}, which is not networks."
                f"{did_you_mean(self.network, networks)}"
            )
        size, alone = self.enlarge_to, self.network != "self"
        require(size is None or size >= 1, "enlarge_to", size, "at least 1, or null")
        require(alone or self.weights is None, "weights", self.weights, "null for network self")
        require(alone or size is None, "enlarge_to", size, "null for network self")

    def require_usable(self, model: nn.Module, x: Tensor) -> None:
        """ConfigError or DataError unless there are weights, and `model` and `x` fit."""
        self.of(model, x).features(x)

    def of(self, model: nn.Module, x: Tensor) -> PerceptualModel:
        """What an attack on `model` with images like `x` measures distances with."""
        return PerceptualModel(model, None if self.network == "self" else _load(self, x.device))


@functools.lru_cache(maxsize=4)  # these networks are frozen: all batches use one
def _load(lpips: LPIPS, device: torch.device) -> nn.Module:
    source = LPIPS_NETWORKS[lpips.network](lpips.weights, lpips.enlarge_to)
    LPIPS_NETWORKS.require_complete(source, "lpips.network")
    network = source.load()
    return network.to(device).eval().requires_grad_(False)
