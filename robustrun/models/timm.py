"""timm's classifiers, by their names (https://huggingface.co/docs/timm)."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import nn

from robustrun.errors import ConfigError, DataError
from robustrun.models.normalize import Normalize, check_statistics, normalized
from robustrun.models.weights import fill_from_file, head, tell_new_head
from robustrun.storage.downloads import stalls_end
from robustrun.types import MODELS, Shape


@MODELS.register("timm")
@dataclass(frozen=True)
class Timm:
    """Any classifier of timm, if it is installed: pip install 'robustrun[timm]'.

    Where weights are for another number of classes, the last layer gets random weights, and that
    is said; pretrained ones are fitted to other numbers of channels as timm does it.
    """

    architecture: str
    weights: str  # random, pretrained (timm's), or a file
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        check_statistics(self.mean, self.std)

    def build(self, shape: Shape, classes: int) -> nn.Module:
        timm = installed_timm()
        if not timm.is_model(self.architecture):
            near = get_close_matches(self.architecture, timm.list_models(), n=5, cutoff=0.5)
            guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise ConfigError(
                f"model.architecture is {self.architecture!r}, which timm {timm.__version__} does "
                f"not have.{guess} timm.list_models() lists them all."
            )
        normalize = Normalize(self.mean, self.std, shape[0])
        network = self._network(timm, shape[0], classes, normalize)
        return normalized(network, normalize, shape, f"model.architecture {self.architecture!r}")

    def _network(self, timm: Any, channels: int, classes: int, normalize: Normalize) -> nn.Module:
        network = self._created(timm, channels, classes)
        if self.weights == "pretrained":
            learnt = getattr(network, "pretrained_cfg", {}).get("num_classes", classes)
            if learnt != classes:
                source = f"pretrained {self.architecture}"
                tell_new_head(source, head(network)[0], learnt, classes)
        elif self.weights != "random":
            fill_from_file(network, self.weights, normalize)
        return network

    def _created(self, timm: Any, channels: int, classes: int) -> nn.Module:
        pretrained = self.weights == "pretrained"
        try:
            with stalls_end():
                network: nn.Module = timm.create_model(
                    self.architecture, pretrained=pretrained, num_classes=classes, in_chans=channels
                )
        except Exception as error:  # timm and the hub behind it fail in many ways
            if not pretrained:
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(
                f"The pretrained weights of {self.architecture} could not be fetched ({reason}). "
                f"Fetch them where there is a network and name the file as model.weights, or set "
                f"it to random."
            ) from error
        return network


def installed_timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ConfigError(
            "model.name is 'timm', and timm is not installed: pip install 'robustrun[timm]'."
        ) from None
    return timm
