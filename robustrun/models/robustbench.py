"""Checkpoints of RobustBench (https://robustbench.github.io), where that package is installed."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from torch import nn

from robustrun.errors import ConfigError, DataError, did_you_mean
from robustrun.models.initial_weights import note
from robustrun.models.trial import reason
from robustrun.storage.cache import cache_folder
from robustrun.storage.published import PublishedNumber
from robustrun.types import MODELS, Shape

log = logging.getLogger(__name__)
DATASETS = ("cifar10", "cifar100", "imagenet")
THREAT_MODELS = {"linf": "Linf", "l2": "L2"}
SAME_RADIUS = 0.0005  # 0.031 and 8/255 are what the field takes for the same
INSTALL = "pip install git+https://github.com/RobustBench/robustbench.git"


@MODELS.register("robustbench")
@dataclass(frozen=True)
class RobustBench:
    """A network of the leaderboard with its weights, as `robustbench.load_model` gives it.

    The package downloads and unpickles the checkpoint itself: this runs its code, and trusts where
    it fetches from. Nothing is added before the network: it normalises itself.
    """

    id: str
    dataset: str  # that the checkpoint was trained on
    threat_model: Literal["Linf", "L2", "corruptions"] | None  # None: that of the attack's norm
    norm: str  # the attack's, and its radius: what the published number is compared by
    epsilon: float
    folder: str | None  # of the checkpoints; None: in robustrun's cache
    model_info: str | None  # of the leaderboard's JSON files; None: looked for beside the package
    weights: Literal["pretrained", "random"]

    @property
    def architecture(self) -> str:
        return self.id

    @property
    def _threat_model(self) -> str:
        """RobustBench's word; ConfigError if the norm has none."""
        threat_model = self.threat_model or THREAT_MODELS.get(self.norm)
        if threat_model is None:
            raise ConfigError(
                f"model.threat_model is null and attack.norm is {self.norm}: name the threat model "
                f"that {self.id} was trained for (Linf, L2, corruptions)."
            )
        return threat_model

    def build(self, shape: Shape, classes: int) -> nn.Module:
        package = installed_robustbench()
        self._require_known(package)
        if self.weights == "random":
            return self._untrained(package)
        place = Path(self.folder).expanduser() if self.folder else cache_folder("robustbench")
        log.info("robustbench loads %s with its own code, which unpickles the file", self.id)
        try:
            network: nn.Module = package.utils.load_model(
                model_name=self.id,
                model_dir=str(place or "models"),
                dataset=self.dataset,
                threat_model=self._threat_model,
            )
        except Exception as error:  # downloads and unpickling fail in many ways
            raise DataError(
                f"robustbench could not load {self.id} ({type(error).__name__}: {reason(error)}). "
                f"Its file belongs to {place}/{self.dataset}/{self._threat_model}/{self.id}.pt."
            ) from error
        note(network, f"robustbench {self._threat_model} {self.id}", None, network.state_dict())
        return network

    def _require_known(self, package: Any) -> None:
        if self.dataset not in DATASETS:
            raise ConfigError(
                f"model.dataset is {self.dataset!r}, but RobustBench's checkpoints are of "
                f"{', '.join(DATASETS)}: choose that data set, or name the one that yours is a "
                f"part or a variant of."
            )
        if self.id not in (ids := self._entries(package)):
            raise ConfigError(
                f"model.id is {self.id!r}, which robustbench does not have for {self.dataset} and "
                f"{self._threat_model}.{did_you_mean(self.id, ids)}"
            )

    def _entries(self, package: Any) -> Mapping[str, Any]:
        zoo = package.model_zoo
        by_threat = zoo.model_dicts[zoo.enums.BenchmarkDataset(self.dataset)]
        entries: Mapping[str, Any] = by_threat.get(zoo.enums.ThreatModel(self._threat_model), {})
        return entries

    def _untrained(self, package: Any) -> nn.Module:
        """The architecture alone, for weights of a run."""
        network: nn.Module = self._entries(package)[self.id]["model"]()
        return network

    def published(self) -> tuple[PublishedNumber, ...]:
        """The leaderboard's numbers, if they are of this threat model; why not, is said."""
        file = self._model_info()
        if file is None:
            log.warning(
                "no published number of %s is shown: model_info/ of RobustBench's repository is "
                "not beside the package. Clone it and name that folder: model.model_info=FOLDER",
                self.id,
            )
            return ()
        try:
            info = json.loads(file.read_text(encoding="utf-8"))
            clean, robust = (float(info[key]) / 100 for key in ("clean_acc", "autoattack_acc"))
            radius = float(Fraction(str(info["eps"])))
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            log.warning("no published number is shown: %s cannot be read (%s)", file, error)
            return ()
        source = f"RobustBench, {self.dataset} {self._threat_model} {info['eps']}: {self.id}"
        same = THREAT_MODELS.get(self.norm) == self._threat_model
        if not same or abs(radius - self.epsilon) >= SAME_RADIUS:
            words = self.id, self._threat_model, info["eps"], self.norm, self.epsilon
            log.warning("%s is published for %s %s, and measured for %s %.4g", *words)
            return (PublishedNumber("clean", "accuracy", clean, source),)
        attack = PublishedNumber("autoattack", "accuracy", robust, source)
        return (PublishedNumber("clean", "accuracy", clean, source), attack)

    def _model_info(self) -> Path | None:
        package = Path(str(installed_robustbench().__file__)).parent
        given = [Path(self.model_info).expanduser()] if self.model_info else []
        folders = [*given, package / "model_info", package.parent / "model_info"]
        name = f"{self.dataset}/{self._threat_model}/{self.id}.json"
        return next((folder / name for folder in folders if (folder / name).is_file()), None)


def installed_robustbench() -> Any:
    """The package with its parts; ConfigError that says how to install it."""
    try:
        import robustbench
        import robustbench.model_zoo.enums
        import robustbench.utils
    except Exception as error:  # its imports are many, and some are not on PyPI
        missing = isinstance(error, ModuleNotFoundError) and error.name == "robustbench"
        what = "is not installed" if missing else f"cannot be imported ({reason(error)})"
        raise ConfigError(
            f"model.name is 'robustbench', and that package {what}: {INSTALL}."
        ) from None
    return robustbench
