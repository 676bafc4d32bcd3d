"""Finds run folders below any paths and reads what they left."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from robustrun.configuration.former_keys import with_present_keys
from robustrun.errors import DataError
from robustrun.evaluation.findings import Check
from robustrun.report.settings import Pool, Settings
from robustrun.run_folder.folder import RESULTS, RUN_LOG, in_use
from robustrun.run_folder.schema import (
    AttackScore,
    EvaluationSection,
    RunRecord,
    read_record,
)

TRAINING = {"method", "training", "optimizer", "schedule"}  # of the configuration
NO_RUNS = {"checkpoint", "figures", ".git", ".venv", "__pycache__"}  # folders that hold none


@dataclass(frozen=True)
class StoredRun:
    """A run folder: what its results.json says, or why that could not be read. Of many runs, what
    no table shows is left out; `read` has it."""

    folder: Path
    record: RunRecord | None
    problem: str = ""
    label: str = ""  # what tells it from the others
    status: str = "damaged"  # without a record; else killed, or running
    pool: Pool = field(default_factory=Pool, repr=False, compare=False)  # of the runs read with it

    @property
    def name(self) -> str:
        return self.label or self.folder.name

    @property
    def evaluation(self) -> EvaluationSection | None:
        return self.record.evaluation if self.record else None

    @cached_property
    def file(self) -> str | None:
        """The name of the file that was measured; None for what a run has trained."""
        evaluated = self.record.evaluated if self.record else None
        if evaluated is None:
            return None
        source = Path(evaluated.source)
        guess = "weights" if source.suffix and not source.is_dir() else "run"  # of older versions
        return None if (evaluated.kind or guess) == "run" else source.name

    @cached_property
    def settings(self) -> Settings:
        """The configuration as one level of dotted keys, in which `GROUP.name` is what the user
        chose: `trades_awp`, not the class behind it. Of a file nothing that tells of training: its
        name stands in the method's place."""
        record = self.record
        if record is None:
            return Settings({})
        whole = with_present_keys(dict(record.config))
        whole.pop("recipe", None)  # other keys take their defaults from it: they say what was done
        chosen = whole.pop("options", None) or {}
        blocks = {
            group: self.pool.block(
                group, content, record.option(group) if group in chosen else None
            )
            for group, content in whole.items()
        }
        if self.file is None:
            return Settings(blocks)
        kept = {group: block for group, block in blocks.items() if group not in TRAINING}
        return Settings(kept | {"method": self.pool.shared({"method.name": self.file})})


def find_runs(paths: Iterable[Path]) -> list[StoredRun]:
    """Every run at or below the paths, by folder name; DataError if a path is missing or empty."""
    folders: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist.")
        here = set(_run_folders(path.resolve()))  # no link below it is followed
        if not here:
            raise DataError(f"There is no run at or below {path} (a run has a results.json).")
        folders |= here
    return _labelled(read_all(sorted(folders, key=_by_number)))


def _run_folders(path: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(path):
        below[:] = [name for name in below if name not in NO_RUNS]
        if RESULTS in files or RUN_LOG in files:
            yield Path(folder)


def _by_number(folder: Path) -> list[tuple[int, str]]:
    """Run 10 of a sweep comes after run 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in folder.parts]


def _labelled(runs: list[StoredRun]) -> list[StoredRun]:
    """Each with its path below the folder that all share."""
    if len(runs) == 1:
        return runs
    root = Path(os.path.commonpath({run.folder.parent for run in runs}))
    return [replace(run, label=run.folder.relative_to(root).as_posix()) for run in runs]


def read_all(folders: Iterable[Path]) -> list[StoredRun]:
    """What tables need of each run: thousands of them fit into memory."""
    pool = Pool()
    return [_slim(read(folder), pool) for folder in folders]


def _slim(run: StoredRun, pool: Pool) -> StoredRun:
    """The run without what no table shows, and equal parts of several runs as one object."""
    if run.record is None:
        return run
    record, shared = run.record, pool.shared
    record = replace(
        record,
        config={group: shared(content) for group, content in record.config.items()},
        dataset=shared(record.dataset),
        model=shared(record.model),
        environment=shared(record.environment),
        training=None,
        evaluation=_slim_evaluation(record.evaluation, pool) if record.evaluation else None,
    )
    return replace(run, record=record, pool=pool)


def _slim_evaluation(evaluation: EvaluationSection, pool: Pool) -> EvaluationSection:
    """Its accuracies, without what grows with classes and radii; of an audit its verdict."""
    statuses = dict.fromkeys(check.status for check in evaluation.audit)
    return replace(
        evaluation,
        subset=pool.shared(evaluation.subset),
        clean=replace(evaluation.clean, per_class=None),
        attacks=tuple(_slim_attack(attack, pool) for attack in evaluation.attacks),
        curve=(),
        audit=pool.shared(tuple(Check("", status) for status in statuses)),
        corruptions=None,
        perturbations=None,
    )


def _slim_attack(attack: AttackScore, pool: Pool) -> AttackScore:
    return replace(attack, per_class=None, stages=(), settings=pool.shared(attack.settings))


def read(folder: Path) -> StoredRun:
    """One run; a damaged or missing results.json becomes the problem that is listed."""
    try:
        return StoredRun(folder, read_record(folder))
    except FileNotFoundError:
        if in_use(folder):
            return StoredRun(folder, None, f"no {RESULTS} yet", status="running")
        why = f"no {RESULTS}: it was killed, or its process ended"
        return StoredRun(folder, None, why, status="killed")
    except OSError as error:
        return StoredRun(folder, None, f"{RESULTS} cannot be read: {error}")
    except DataError as error:
        return StoredRun(folder, None, str(error))
