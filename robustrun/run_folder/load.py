"""A finished run as a network: rebuilt from its folder, to look through or to measure again."""

import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.datasets.relabelled import TrainedOn
from robustrun.errors import ConfigError, DataError, listed
from robustrun.models import program
from robustrun.models.initial_weights import file_of, taken_by
from robustrun.models.trial import built, reason
from robustrun.models.weights import aligned, fill
from robustrun.run_folder import code, hub, provenance
from robustrun.run_folder.folder import WEIGHTS, require_finished
from robustrun.run_folder.place import local
from robustrun.run_folder.schema import (
    DatasetSection,
    EvaluatedSection,
    RunRecord,
    read_record,
)
from robustrun.storage.header import header, holds_run
from robustrun.storage.weights import read
from robustrun.types import Adapts, HasCode, Shape, Splits

log = logging.getLogger(__name__)
SHOWN = 4  # tensors that a message lists
CONFIGURED = "model="  # begins what stands for the network that a configuration describes


def raw_config(folder: Path) -> dict[str, Any]:
    """What a finished run's config.yaml says, or a file that was exported from one."""
    if not holds_run(folder):
        require_finished(folder)
    return configuration(folder)


def configuration(folder: Path) -> dict[str, Any]:
    """What a run is to do, with every module that it was made with imported."""
    provenance.restore_plugins(folder)
    return provenance.configuration(folder)


def load_run(folder: str | Path, plugins: Iterable[str] = ()) -> tuple[RunRecord, nn.Module]:
    """What a finished run says, and its network with the selected weights, in eval mode on the CPU.

    `folder` may also be the safetensors file that `robustrun export` wrote, or a repository of the
    Hugging Face hub, "hf://OWNER/NAME" or "hf://OWNER/NAME@REVISION". Of these two, Python modules
    are imported, and a file with the network's code is run, only if `plugins` names them. DataError
    (a ValueError) if it is none of these or is damaged.
    """
    return loaded(local(folder, plugins))


def loaded(folder: Path) -> tuple[RunRecord, nn.Module]:
    """As `load_run`, of what was looked through or is trusted."""
    run_config = code.of_run(load_config(raw_config(folder)), folder)
    record = read_record(folder)
    code.warn_of_another(run_config, record)
    data = data_section(record)
    network = rebuild(run_config, data.input_shape, data.classes, data.class_counts)
    state = read(str(weights_of(folder)), f"The run {folder}")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{folder}: the weights do not fit config.yaml ({error}).") from None
    return record, network.eval()


def weights_of(place: Path) -> Path:
    """The file with the selected weights of a run: in its folder, or itself."""
    return place / WEIGHTS if place.is_dir() else place


def data_section(record: RunRecord) -> DatasetSection:
    """What a run says of its data; DataError if it did not come to that."""
    if record.dataset is None:
        raise DataError(f"{record.folder} is no finished run: it read no data.")
    return record.dataset


def trained_on(record: RunRecord) -> TrainedOn:
    """The images that a run's network learnt."""
    data = data_section(record)
    seen = data.fingerprints.get("test")
    return TrainedOn(data.class_names, data.input_shape, data.test_from, seen)


def rebuild(
    run_config: RunConfig, shape: Shape, classes: int, class_counts: Sequence[int]
) -> nn.Module:
    """The network of a run, without its weights."""
    model: Any = run_config.model
    if hasattr(model, "weights"):
        model = dataclasses.replace(model, weights="random")  # the run's own come afterwards
    network = built(model, shape, classes)
    if isinstance(run_config.method, Adapts):
        network = run_config.method.adapt(network, torch.tensor(class_counts))
    return network


@dataclass(frozen=True)
class Source:
    """A network that is measured again: a finished run's, or a file's."""

    path: Path

    @property
    def kind(self) -> Literal["run", "program", "weights", "model"]:
        if self.path.is_dir() or holds_run(self.path):
            return "run"
        if self.path.name.startswith(CONFIGURED) and not self.path.exists():
            return "model"
        return "program" if program.kind(self.path) else "weights"

    def trained_on(self, run_config: RunConfig) -> TrainedOn | None:
        """What it learnt, where a run says so, or the file itself: weights or a program; of a
        network as `run_config` describes it, the file that it begins with."""
        if self.kind == "run":
            return trained_on(read_record(self.path))
        configured = str(getattr(run_config.model, "weights", ""))
        about = header(file_of(configured) if self.kind == "model" else self.path)
        return TrainedOn.of(about) if about.keys() >= {"class_names", "input_shape"} else None

    def network(self, run_config: RunConfig, splits: Splits) -> nn.Module:
        """In eval mode on the CPU; of a file of weights, the model that `run_config` describes."""
        if self.kind == "run":
            return loaded(self.path)[1]
        if self.kind == "model":
            network = built(run_config.model, splits.test.shape, splits.classes)
            _require_learnt(network, splits.classes)
            return network.eval()
        shape = trained.shape if (trained := self.trained_on(run_config)) else splits.test.shape
        counts = torch.bincount(splits.train.labels, minlength=splits.classes).tolist()
        network = rebuild(run_config, shape, splits.classes, counts)
        if self.kind == "weights":  # a program has its own
            source = str(self.path)
            state = read(source, "model.weights")
            fill(network, aligned(network, state, source), source)
        return network.eval()

    def section(self) -> EvaluatedSection:
        """What results say of it; of a network as it is configured, without its weights' digest."""
        if self.kind == "model":
            return EvaluatedSection(source=self.path.name, kind="model")
        digest = hashlib.sha256(weights_of(self.path).read_bytes()).hexdigest()
        source = hub.address(self.path) or str(self.path.resolve())
        return EvaluatedSection(source=source, kind=self.kind, weights_sha256=digest)


def as_source(run_config: RunConfig) -> Path:
    """What stands for the network that a configuration describes, where a file or run is due;
    ConfigError if it has learnt nothing."""
    _require_trained(run_config)
    return Path(CONFIGURED + run_config.name_of("model").replace("/", "_"))


def _require_trained(run_config: RunConfig) -> None:
    """ConfigError if the network that is configured has random weights, and is no user's code."""
    if getattr(run_config.model, "weights", "") == "random" and not isinstance(
        run_config.model, HasCode
    ):
        raise ConfigError(
            f"model.weights is 'random': {run_config.name_of('model')} has learnt nothing that "
            f"could be measured. Name a file or a run, pretrained where the network has that, or "
            f"put the run or file first: robustrun evaluate RUN_OR_WEIGHTS."
        )


def _require_learnt(network: nn.Module, classes: int) -> None:
    """DataError for a network that is configured with weights of which it lacks some."""
    about = taken_by(network)
    if about is not None and about.new:
        raise DataError(
            f"{about.source} has no weights for {listed(about.new, SHOWN)}: those would be random, "
            f"and what is measured would be chance. To be measured, it must have as many classes "
            f"as the data set ({classes}); for other classes it must be trained first."
        )


def require_size(network: nn.Module, trained: TrainedOn, shape: Shape, source: str) -> None:
    """DataError if the images have another size than the network was trained on, and it cannot take
    them; where it can, that is said."""
    if shape == trained.shape:
        return
    sizes = spatial_size(trained.shape[1:]), spatial_size(shape[1:])
    try:
        with torch.no_grad():
            network(torch.zeros(2, *shape))
    except Exception as error:  # layers fail in their own ways
        raise DataError(
            f"The network of {source} was trained on images of {sizes[0]} pixels and cannot take "
            f"this data set's, of {sizes[1]} ({reason(error)}). Images in "
            f"folders are scaled with dataset.image_size={trained.shape[1]}."
        ) from error
    log.warning("the network was trained on images of %s pixels and is measured on %s", *sizes)


def spatial_size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
