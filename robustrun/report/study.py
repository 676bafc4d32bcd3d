"""study.json: what a search tried, what it found best, and how to train with that."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from robustrun.console import Table
from robustrun.report import summary
from robustrun.storage import files

STUDY = "study.json"
MOST = 10  # of the best that are shown on the terminal


@dataclass(frozen=True)
class StudyTrial:
    """A run as a trial."""

    run: int  # its number
    folder: str  # in the sweep's folder
    state: str  # complete, pruned, fail or running
    values: list[float]  # of the objectives; of a pruned trial the last reported
    parameters: dict[str, str | float | bool | None]  # by key; a choice as its word
    best: bool  # none is better; with several objectives, on the Pareto front
    command: str  # that trains with its values


@dataclass(frozen=True)
class StudyRecord:
    """A search; its trials are in the order of their runs."""

    study_name: str
    storage: str | None  # None: study.journal beside this file
    direction: str
    objectives: list[str]  # accuracies on the validation split, as fractions in [0, 1]
    sampler: str
    pruner: str
    n_trials: int
    trials: list[StudyTrial]

    @property
    def best(self) -> list[StudyTrial]:
        return [trial for trial in self.trials if trial.best]

    @property
    def keys(self) -> list[str]:
        """What is searched."""
        return list(dict.fromkeys(key for trial in self.trials for key in trial.parameters))

    @property
    def title(self) -> str:
        """What the best are, in words."""
        measures = " and ".join(name.replace("_", " ") for name in self.objectives)
        of = f"of {len(self.trials)} trials: {measures}"
        return f"Pareto front {of}" if len(self.objectives) > 1 else f"best {of}"


def write(sweep: Path, record: StudyRecord) -> None:
    files.write_json(sweep / STUDY, asdict(record))


def read(sweep: Path) -> StudyRecord | None:
    """The search in a sweep's folder; None if it is none, or cannot be read."""
    try:
        return msgspec.json.decode((sweep / STUDY).read_bytes(), type=StudyRecord)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None


def findings(record: StudyRecord) -> list[Table | str]:
    """For the terminal: the best trials, and how to train with the first of them."""
    best = record.best
    if not best:
        return ["no trial of this search is complete"]
    header = ["run", *record.objectives, *best[0].parameters]
    rows = [
        [str(trial.run), *_percents(trial.values), *map(summary.text, trial.parameters.values())]
        for trial in best[:MOST]
    ]
    more = len(best) - MOST
    said = [f"{more} more are in {STUDY}"] if more > 0 else []
    return [Table(record.title, header, rows), *said, f"to train with it: {best[0].command}"]


def _percents(values: Iterable[float]) -> list[str]:
    return [f"{100 * value:.2f}%" for value in values]


def marks(sweep: Path) -> dict[str, dict[str, str]]:
    """A column for summary.csv of a search, by the folder's name of each run: what became of its
    trial. Empty for other sweeps."""
    record = read(sweep)
    if record is None:
        return {}
    best = "pareto" if len(record.objectives) > 1 else "best"
    return {trial.folder: {"trial": best if trial.best else trial.state} for trial in record.trials}
