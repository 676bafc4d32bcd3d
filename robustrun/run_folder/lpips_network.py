"""A finished run's network as the network of LPIPS (`lpips.network=run`)."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from robustrun.attacks.perceptual.lpips_networks import LPIPS_NETWORKS
from robustrun.datasets.relabelled import TrainedOn
from robustrun.errors import ConfigError
from robustrun.run_folder.load import load_run, spatial_size, trained_on
from robustrun.types import HasFeatures


class Features(nn.Module):
    """Shows the activations of a network and keeps its logits to itself."""

    def __init__(self, network: HasFeatures, trained: TrainedOn, folder: str) -> None:
        super().__init__()
        self.network, self.trained, self.folder = network, trained, folder

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.shape[1:] != self.trained.shape:
            raise ConfigError(
                f"lpips.weights names {self.folder}, whose network takes images of "
                f"{spatial_size(self.trained.shape)} (channels, height, width), but these have "
                f"{spatial_size(x.shape[1:])}."
            )
        return self.network.with_features(x)[1]


@LPIPS_NETWORKS.register("run")
@dataclass(frozen=True)
class FinishedRun:
    """A finished run as the network of LPIPS: `lpips.network=run lpips.weights=FOLDER`."""

    weights: str | None  # the run's folder
    enlarge_to: int | None

    def load(self) -> nn.Module:
        if self.weights is None or self.enlarge_to is not None:
            raise ConfigError(
                "lpips.network is 'run', which needs lpips.weights, the folder of a finished run, "
                "and takes images of that run's size: lpips.enlarge_to must be null."
            )
        folder = Path(self.weights)
        record, network = load_run(folder)
        if not isinstance(network, HasFeatures):
            raise ConfigError(
                f"lpips.weights names {self.weights}, whose network does not show its activations."
            )
        return Features(network, trained_on(record), self.weights).requires_grad_(False)
