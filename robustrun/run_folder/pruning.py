"""A run as a trial of a search: each epoch's number goes to its study, whose pruner may end it.

The search writes a file into the folder of a run before it is launched, so that the run knows of
its trial in whichever process it trains.
"""

import logging
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from robustrun.compute import processes
from robustrun.run_folder.folder import FOLDER
from robustrun.storage import files, studies
from robustrun.training.metrics import EpochMetrics

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage

log = logging.getLogger(__name__)
TRIAL = "trial.json"


@dataclass(frozen=True)
class Pruner:
    """How a search finds out that a training is hopeless."""

    name: Literal["none", "median", "hyperband", "halving"]
    trials: int  # median: that are complete before one is pruned
    after: int  # median: epochs of a trial before it can be pruned
    epochs: int  # hyperband: of the longest training

    def build(self) -> "BasePruner":
        from optuna import pruners

        if self.name == "median":
            # Optuna prunes from the step n_warmup_steps on; the first epoch is step 1
            return pruners.MedianPruner(self.trials, self.after)
        if self.name == "hyperband":
            return pruners.HyperbandPruner(min_resource=1, max_resource=self.epochs)
        return pruners.SuccessiveHalvingPruner() if self.name == "halving" else pruners.NopPruner()


@dataclass(frozen=True)
class Trial:
    """Which trial of which study a run is."""

    storage: str  # the absolute path of a journal file, or a URL
    study: str
    number: int
    objective: str  # the EpochMetrics that is reported
    pruner: Pruner

    @cached_property
    def _storage(self) -> "BaseStorage":
        return studies.open_storage(self.storage)

    def is_hopeless(self, row: EpochMetrics) -> bool:
        """Report an epoch; whether the pruner would end the trial now."""
        from optuna import load_study

        value = getattr(row, self.objective)
        if value is None:
            return False
        storage = self._storage
        study = load_study(study_name=self.study, storage=storage, pruner=self.pruner.build())
        identity = storage.get_study_id_from_name(self.study)
        identity = storage.get_trial_id_from_study_id_trial_number(identity, self.number)
        trial = storage.get_trial(identity)
        if trial.state.is_finished():
            return False
        if row.epoch not in trial.intermediate_values:
            storage.set_trial_intermediate_value(identity, row.epoch, value)
        return bool(study.pruner.prune(study, storage.get_trial(identity)))


def write(folder: Path, trial: Trial) -> None:
    """Let the run in `folder`, which has not begun or is not finished, know of its trial."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    files.write_json(folder / FOLDER / TRIAL, asdict(trial))


class Pruning:
    """Ends a training that its search finds hopeless; of a run outside of a search, none."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.reason: str | None = None  # why the training ended early
        self.epochs = epochs
        self.trial = _read(folder / FOLDER / TRIAL)

    def stops(self, history: list[EpochMetrics]) -> bool:
        """Whether the training ends after these epochs, for all processes that compute it."""
        return bool(processes.told(processes.is_first() and self._stops(history)))

    def _stops(self, history: list[EpochMetrics]) -> bool:
        """A study out of reach ends none."""
        if self.trial is None or not history:
            return False
        try:
            hopeless = self.trial.is_hopeless(history[-1])
        except Exception as error:  # a search is not worth a run
            log.warning("not pruned from here on: %s: %s", type(error).__name__, error)
            self.trial = None
            return False
        if hopeless:
            name, epoch = self.trial.pruner.name, history[-1].epoch
            self.reason = f"after epoch {epoch} of {self.epochs}, by the pruner {name} of a search"
            log.info("pruned %s", self.reason)
        return hopeless


def _read(file: Path) -> Trial | None:
    """None of a run outside of a search, or of one whose file is damaged."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Trial)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        log.warning("not pruned: %s is damaged (%s)", file, error)
        return None
