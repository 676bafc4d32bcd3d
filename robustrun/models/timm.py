"""timm's classifiers, by their names (https://huggingface.co/docs/timm)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, Literal

from torch import nn

from robustrun.errors import ConfigError, DataError, require
from robustrun.models.initial_weights import note, started
from robustrun.models.normalize import Normalize
from robustrun.models.patches import require_whole_patches, with_conv_stem, with_fewer_strides
from robustrun.models.published import (
    Input,
    Published,
    Size,
    Values,
    another_normalisation,
    assembled,
    check,
    for_channels,
    refusal,
    resolved,
)
from robustrun.models.trial import reason
from robustrun.models.weights import tell_new_head
from robustrun.storage.downloads import stalls_end
from robustrun.types import MODELS, Shape

log = logging.getLogger(__name__)


@MODELS.register("timm")
@dataclass(frozen=True)
class Timm:
    """Any classifier of timm, if it is installed: pip install 'robustrun[timm]'.

    A network that is made for one image size (ViT …) is made for that of the data set. Where
    weights are for another number of classes, the last layer gets random weights, and that is said;
    pretrained ones are fitted to other numbers of channels, patches and places as timm does it.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = {
        "arguments": None,
        "patch_size": None,
        "stem": "default",
        "drop_path": 0.0,
        "image_size": None,
    }

    architecture: str  # with or without the tag of its pretrained weights
    arguments: dict[str, Any] | None  # of timm's function of that name
    patch_size: int | None  # pixels a side of a patch; None: the architecture's
    stem: Literal["default", "conv"]
    drop_path: float  # share of the residual branches that are dropped (stochastic depth)
    weights: str  # random, pretrained (timm's), a file, or a finished run's folder
    image_size: Size  # pixels a side that images are scaled to in the network
    mean: Values
    std: Values

    def __post_init__(self) -> None:
        check(self.mean, self.std, self.image_size)
        require(0 <= self.drop_path < 1, "drop_path", self.drop_path, "at least 0 and below 1")
        right = "at least 1, or null"
        patch = self.patch_size
        require(patch is None or patch >= 1, "patch_size", patch, right)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        """DataError unless images are normalised as pretrained weights learnt it."""
        if said := self._another_normalisation(shape[0]):
            raise DataError(said)
        return self._network(shape, classes)

    def build_as_begun(self, shape: Shape, classes: int) -> nn.Module:
        if said := self._another_normalisation(shape[0]):
            log.warning("%s The run continues as it began.", said)
        return self._network(shape, classes)

    def _another_normalisation(self, channels: int) -> str:
        configuration = self._configuration(installed_timm())
        own, given = self._input(configuration, channels)
        if self.weights != "pretrained" or own is None:
            return ""
        return another_normalisation(given, own, self._named(configuration))

    def _input(self, configuration: Any, channels: int) -> tuple[Published | None, Input]:
        """What pretrained weights were trained with, and what this network is given."""
        own = None if configuration is None else statistics(configuration, channels)
        return own, resolved(self.mean, self.std, self.image_size, own)

    def _network(self, shape: Shape, classes: int) -> nn.Module:
        timm = installed_timm()
        configuration = self._configuration(timm)
        own, given = self._input(configuration, shape[0])
        normalize = Normalize(given.mean, given.std, shape[0])
        network = self._created(timm, given.shape(shape), classes, configuration)
        replaced = self._begun(network, shape[0])
        if self.weights == "pretrained":
            self._note_pretrained(network, configuration, classes, replaced)
        else:
            started(network, self.weights, normalize, classes)
        what, hint = f"model.architecture {self.architecture!r}", _hint(own, given.size)
        return assembled(network, normalize, given.size, shape, what, hint)

    def _configuration(self, timm: Any) -> Any:
        """What timm notes of the pretrained weights; ConfigError for a name that it does not have.
        None: it notes nothing."""
        name, _, tag = self.architecture.partition(".")
        if not timm.is_model(name):
            near = get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
            guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise ConfigError(
                f"model.architecture is {self.architecture!r}, which timm {timm.__version__} does "
                f"not have.{guess} robustrun list model --timm 'PATTERN*' searches them."
            )
        tagged = [n.partition(".")[2] for n in timm.list_pretrained(name) if "." in n]
        if tag and tag not in tagged:
            raise ConfigError(
                f"model.architecture is {self.architecture!r}, but timm {timm.__version__} has no "
                f"weights of {name} with the tag {tag!r}. Its tags: {', '.join(tagged) or 'none'}."
            )
        if self.weights == "pretrained" and not timm.is_model_pretrained(self.architecture):
            raise ConfigError(
                f"model.weights is 'pretrained', but timm {timm.__version__} has no weights of "
                f"{name}."
            )
        return timm.get_pretrained_cfg(self.architecture)

    def _created(self, timm: Any, shape: Shape, classes: int, configuration: Any) -> nn.Module:
        """timm's network for images of `shape`; ConfigError if it takes no such arguments."""
        pretrained, arguments = self.weights == "pretrained", self._arguments(shape, configuration)
        common: dict[str, Any] = {"num_classes": classes, "in_chans": shape[0]}
        try:
            with stalls_end():
                network: nn.Module = timm.create_model(
                    self.architecture, pretrained=pretrained, **(common | arguments)
                )
        except (TypeError, AssertionError, ValueError, ZeroDivisionError) as error:
            what = f"model.architecture {self.architecture!r}"
            raise self._refusal(what, shape, arguments, error) from error
        except Exception as error:  # timm and the hub behind it fail in many ways
            if not pretrained:
                raise
            raise DataError(
                f"The pretrained weights of {self.architecture} could not be fetched "
                f"({reason(error)}). Fetch them where there is a network and name the file as "
                f"model.weights, or set it to random."
            ) from error
        require_whole_patches(network, shape, self.architecture)
        if self.patch_size is not None and self._strides_less():
            with_fewer_strides(network, self.patch_size, self.architecture)
        return network

    def _arguments(self, shape: Shape, configuration: Any) -> dict[str, Any]:
        """What timm's function is given beside classes and channels."""
        arguments: dict[str, Any] = {}
        if getattr(configuration, "fixed_input_size", False):
            arguments["img_size"] = shape[1:]
        if self.patch_size is not None and not self._strides_less():
            arguments["patch_size"] = self.patch_size
        if self.drop_path:
            arguments["drop_path_rate"] = self.drop_path
        return arguments | (self.arguments or {})

    def _strides_less(self) -> bool:
        """Whether the patches are made by convolutions, whose strides are what can be changed."""
        return self.architecture.startswith("xcit")

    def _refusal(
        self, what: str, shape: Shape, arguments: Mapping[str, Any], error: Exception
    ) -> ConfigError:
        if isinstance(error, TypeError) and "argument" in str(error):
            keys = {"patch_size": "model.patch_size", "drop_path_rate": "model.drop_path"}
            given = ", ".join(keys.get(key, f"model.arguments.{key}") for key in arguments)
            return ConfigError(f"{what} does not take {given} ({reason(error)}).")
        return refusal(what, shape, error, " model.image_size=N scales them inside the network.")

    def _begun(self, network: nn.Module, channels: int) -> str | None:
        """Put another stem where one is asked for; returns the place of it."""
        if self.stem == "default":
            return None
        return with_conv_stem(network, channels, self.architecture)

    def _named(self, configuration: Any) -> str:
        tag = getattr(configuration, "tag", "")
        name = self.architecture.partition(".")[0]
        return f"timm {name}.{tag}" if tag else f"timm {name}"

    def _note_pretrained(
        self, network: nn.Module, configuration: Any, classes: int, replaced: str | None
    ) -> None:
        """Note what is timm's, and say which layers are not."""
        learnt, heads = configuration.num_classes, configuration.classifier or ()
        heads = (heads,) if isinstance(heads, str) else tuple(heads)
        new = [replaced] if replaced else []
        if learnt != classes and heads:
            tell_new_head(f"pretrained {self.architecture}", heads[0], learnt, classes)
            new += heads
        names = [
            name
            for name in network.state_dict()
            if not any(name.startswith(f"{layer}.") for layer in new)
        ]
        note(network, self._named(configuration), None, names)


def statistics(configuration: Any, channels: int) -> Published:
    """What timm's weights were trained with, for images of that many channels."""
    mean, std = (
        for_channels(values, channels) for values in (configuration.mean, configuration.std)
    )
    return Published(mean, std, int(configuration.input_size[-1]))


def _hint(own: Published | None, scale: int | None) -> str:
    if own is None or scale is not None:
        return ""
    return (
        f" model.image_size={own.size} scales them inside the network; where it has patches, a "
        f"smaller model.patch_size lets it see small images as they are."
    )


def installed_timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ConfigError(
            "timm, which model=timm and the options built on it need, is not installed: "
            "pip install 'robustrun[timm]'."
        ) from None
    return timm
