"""torchvision's classifiers, by their names (https://docs.pytorch.org/vision/stable/models.html)."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from robustrun.errors import ConfigError, did_you_mean
from robustrun.models.normalize import check_statistics, colour, normalized
from robustrun.models.weights import INSTEAD, fill_from_file, head, tell_new_head
from robustrun.storage.downloads import fetching
from robustrun.types import MODELS, Shape

# Inception's auxiliary classifiers would make its output a tuple in training.
PLAIN: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False},
    "inception_v3": {"aux_logits": False},
}


@MODELS.register("torchvision")
@dataclass(frozen=True)
class Torchvision:
    """Any classifier of torchvision, without auxiliary outputs; grey images are shown as colour.

    Where weights are for another number of classes, the last layer gets random weights, and that
    is said.
    """

    architecture: str
    weights: str  # random, pretrained (the newest that torchvision has), or a file
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        check_statistics(self.mean, self.std)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        from torchvision import models  # seconds: only where needed

        names = models.list_models(module=models)
        if self.architecture not in names:
            raise ConfigError(
                f"model.architecture is {self.architecture!r}, which torchvision does not have."
                f"{did_you_mean(self.architecture, names)}"
            )
        normalize = colour("torchvision", shape, self.mean, self.std)
        if self.weights == "pretrained":
            network = pretrained(self.architecture, classes)
        else:
            network = untrained(self.architecture, classes)
            if self.weights != "random":
                fill_from_file(network, self.weights, normalize)
        return normalized(network, normalize, shape, f"model.architecture {self.architecture!r}")


def untrained(architecture: str, classes: int) -> nn.Module:
    from torchvision import models

    plain = PLAIN.get(architecture, {})
    if plain:
        plain = plain | {"init_weights": True}  # left out, torchvision warns
    network: nn.Module = models.get_model(architecture, weights=None, num_classes=classes, **plain)
    return network


def pretrained(architecture: str, classes: int) -> nn.Module:
    from torchvision import models

    weights = models.get_model_weights(architecture).DEFAULT
    with fetching(weights.url, "model.weights", INSTEAD):
        network: nn.Module = models.get_model(
            architecture, weights=weights, progress=False, **PLAIN.get(architecture, {})
        )
    learnt = len(weights.meta["categories"])
    if learnt != classes:
        name, layer = head(network)
        network.set_submodule(name, new_head(layer, classes))
        tell_new_head(f"pretrained {architecture}", name, learnt, classes)
    return network


def new_head(layer: nn.Linear | nn.Conv2d, classes: int) -> nn.Module:
    """The same kind of layer for another number of classes, with random weights."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, classes)
    return nn.Conv2d(layer.in_channels, classes, kernel_size=1)
