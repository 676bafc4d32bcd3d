"""A finished run as a network: rebuilt from its folder, to look through or to measure again."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from robustrun import config
from robustrun.attacks.observers import OBSERVERS
from robustrun.errors import ConfigError, DataError
from robustrun.models.program import Program
from robustrun.models.weights import aligned, fill, read
from robustrun.types import Adapts, HasFeatures


def raw_config(folder: Path) -> dict[str, Any]:
    """What a finished run's config.yaml says."""
    for name in ("config.yaml", "results.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise DataError(f"{folder} is no finished run: it has no {name}.")
    return configuration(folder)


def configuration(folder: Path) -> dict[str, Any]:
    """What a run's config.yaml says."""
    raw = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    if not isinstance(raw, dict):
        raise DataError(f"{folder}/config.yaml is no configuration.")
    return {str(key): value for key, value in raw.items()}


def load(folder: Path) -> tuple[config.RunConfig, nn.Module]:
    """The configuration and the selected weights of a finished run, in eval mode on the CPU."""
    run_config = config.load(raw_config(folder))
    results = json.loads((folder / "results.json").read_text())
    network = rebuild(run_config, results["dataset"])
    state = safetensors.torch.load_file(folder / "model.safetensors")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{folder}: the weights do not fit config.yaml ({error}).") from None
    return run_config, network.eval()


def rebuild(run_config: config.RunConfig, data: dict[str, Any]) -> nn.Module:
    """The network of a run, without its weights; `data` is results.json's section on the data."""
    channels, height, width = data["input_shape"]
    model: Any = run_config.model
    if hasattr(model, "weights"):
        model = dataclasses.replace(model, weights="random")  # the run's own come afterwards
    network: nn.Module = model.build((channels, height, width), data["classes"])
    if isinstance(run_config.method, Adapts):
        network = run_config.method.adapt(network, torch.tensor(data["class_counts"]))
    return network


def network_at(
    source: Path, run_config: config.RunConfig, data: dict[str, Any]
) -> tuple[nn.Module, dict[str, str]]:
    """The network of a finished run, or of a file of weights for the model that `run_config` and
    results.json's section `data` describe; and what the results say of it."""
    if source.is_dir():
        _, network = load(source)
        weights = source / "model.safetensors"
    else:
        network, weights = rebuild(run_config, data), source
        if not isinstance(run_config.model, Program):  # which has its weights already
            fill(network, aligned(network, read(str(source))), str(source))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return network.eval(), {"source": str(source.resolve()), "weights_sha256": digest}


class Features(nn.Module):
    """Shows the activations of a network and keeps its logits to itself."""

    def __init__(self, network: HasFeatures) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.network.with_features(x)[1]


@OBSERVERS.register("run")
@dataclass(frozen=True)
class FinishedRun:
    """The eyes of a run of one's own: `lpips.network=run lpips.weights=FOLDER`."""

    weights: str | None  # the run's folder
    enlarge_to: int | None

    def load(self) -> nn.Module:
        if self.weights is None or self.enlarge_to is not None:
            raise ConfigError(
                "lpips.network is 'run', which needs lpips.weights, the folder of a finished run, "
                "and takes images of that run's size: lpips.enlarge_to must be null."
            )
        _, network = load(Path(self.weights))
        if not isinstance(network, HasFeatures):
            raise ConfigError(
                f"lpips.weights names {self.weights}, whose network does not show its activations."
            )
        return Features(network).requires_grad_(False)
