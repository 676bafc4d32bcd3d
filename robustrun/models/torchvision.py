"""torchvision's classifiers, by their names (https://docs.pytorch.org/vision/stable/models.html)."""

import logging
from dataclasses import dataclass
from os.path import exists
from typing import Any, ClassVar

from torch import nn

from robustrun.errors import ConfigError, DataError, did_you_mean
from robustrun.models.initial_weights import digest_of, note, started
from robustrun.models.normalize import colour
from robustrun.models.published import (
    Input,
    Published,
    Size,
    Values,
    another_normalisation,
    assembled,
    check,
    resolved,
)
from robustrun.models.weights import INSTEAD, head, tell_new_head
from robustrun.storage.downloads import fetching, hub_file
from robustrun.types import MODELS, Shape

log = logging.getLogger(__name__)

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

    ADDED_LATER: ClassVar[dict[str, Any]] = {"image_size": None}

    architecture: str
    weights: str  # random, pretrained (the newest), a name of torchvision's, a file, a run
    image_size: Size  # pixels a side that images are scaled to in the network
    mean: Values
    std: Values

    def __post_init__(self) -> None:
        check(self.mean, self.std, self.image_size)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        """DataError unless images are normalised as pretrained weights learnt it."""
        if said := self._another_normalisation():
            raise DataError(said)
        return self._network(shape, classes)

    def build_as_begun(self, shape: Shape, classes: int) -> nn.Module:
        if said := self._another_normalisation():
            log.warning("%s The run continues as it began.", said)
        return self._network(shape, classes)

    def _another_normalisation(self) -> str:
        own, given = self._input()
        if own is None or not self._downloads():
            return ""
        return another_normalisation(given, own, f"{self._published_weights()}")

    def _input(self) -> tuple[Published | None, Input]:
        """What published weights were trained with, and what this network is given."""
        weights = self._published_weights()
        own = None if weights is None else statistics(weights)
        return own, resolved(self.mean, self.std, self.image_size, own)

    def _network(self, shape: Shape, classes: int) -> nn.Module:
        weights, (own, given) = self._published_weights(), self._input()
        normalize = colour("torchvision", shape, given.mean, given.std)
        if weights is not None and self._downloads():
            network = pretrained(self.architecture, weights, classes)
        else:
            network = untrained(self.architecture, classes)
            started(network, self.weights, normalize, classes)
        what, hint = f"model.architecture {self.architecture!r}", _hint(own, given.size)
        return assembled(network, normalize, given.size, shape, what, hint)

    def _published_weights(self) -> Any:
        """Those that `weights` names, else the newest; None where torchvision has none."""
        from torchvision import models  # seconds: only where needed

        names = models.list_models(module=models)
        if self.architecture not in names:
            raise ConfigError(
                f"model.architecture is {self.architecture!r}, which torchvision does not have."
                f"{did_you_mean(self.architecture, names)}"
            )
        named: Any = models.get_model_weights(self.architecture)
        members = named.__members__
        if self.weights.isupper() and self.weights not in members and not exists(self.weights):
            raise ConfigError(
                f"model.weights is {self.weights!r}, which torchvision does not have for "
                f"{self.architecture}.{did_you_mean(self.weights, members)}"
            )
        return members.get(self.weights, named.DEFAULT if len(named) else None)

    def _downloads(self) -> bool:
        from torchvision import models

        named: Any = models.get_model_weights(self.architecture)
        return self.weights == "pretrained" or self.weights in named.__members__


def statistics(weights: Any) -> Published:
    """What published weights were trained with."""
    transforms = weights.transforms()
    return Published(tuple(transforms.mean), tuple(transforms.std), int(transforms.crop_size[0]))


def _hint(own: Published | None, scale: int | None) -> str:
    if own is None or scale is not None:
        return ""
    return f" model.image_size={own.size} scales them inside the network."


def untrained(architecture: str, classes: int) -> nn.Module:
    from torchvision import models

    plain = PLAIN.get(architecture, {})
    if plain:
        plain = plain | {"init_weights": True}  # left out, torchvision warns
    network: nn.Module = models.get_model(architecture, weights=None, num_classes=classes, **plain)
    return network


def pretrained(architecture: str, weights: Any, classes: int) -> nn.Module:
    from torchvision import models

    with fetching(weights.url, "model.weights", INSTEAD):
        network: nn.Module = models.get_model(
            architecture, weights=weights, progress=False, **PLAIN.get(architecture, {})
        )
    learnt, taken = len(weights.meta["categories"]), [*network.state_dict()]
    if learnt != classes:
        name = head(network, learnt)
        layer: Any = network.get_submodule(name)
        network.set_submodule(name, new_head(layer, classes))
        tell_new_head(f"pretrained {architecture}", name, learnt, classes)
        taken = [key for key in taken if not key.startswith(f"{name}.")]
    file = hub_file(weights.url)
    digest = digest_of(file) if file.is_file() else None
    note(network, f"torchvision {weights}", digest, taken)
    return network


def new_head(layer: nn.Linear | nn.Conv2d, classes: int) -> nn.Module:
    """The same kind of layer for another number of classes, with random weights."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, classes)
    return nn.Conv2d(layer.in_channels, classes, kernel_size=1)
