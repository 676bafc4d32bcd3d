"""Finds run folders below any paths and reads what they left."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from robustrun.configuration.former_keys import with_present_keys
from robustrun.errors import DataError
from robustrun.run_folder.schema import RESULTS, EvaluationSection, RunRecord, read_record
from robustrun.storage.files import flat

TRAINING = {"method", "training", "optimizer", "schedule"}  # of the configuration
NO_RUNS = {"checkpoint", "figures", ".git", ".venv", "__pycache__"}  # folders that hold none


@dataclass(frozen=True)
class StoredRun:
    """A run folder: what its results.json says, or why that could not be read."""

    folder: Path
    record: RunRecord | None
    problem: str = ""
    label: str = ""  # what tells it from the others

    @property
    def name(self) -> str:
        return self.label or self.folder.name

    @property
    def evaluation(self) -> EvaluationSection | None:
        return self.record.evaluation if self.record else None

    @property
    def file(self) -> str | None:
        """The name of the file that was measured; None for what a run has trained."""
        evaluated = self.record.evaluated if self.record else None
        if evaluated is None:
            return None
        source = Path(evaluated.source)
        guess = "weights" if source.suffix and not source.is_dir() else "run"  # of older versions
        return None if (evaluated.kind or guess) == "run" else source.name

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration as one level of dotted keys, in which `GROUP.name` is what the user
        chose: `trades_awp`, not the class behind it. Of a file nothing that tells of training: its
        name stands in the method's place."""
        record = self.record
        if record is None:
            return {}
        whole = with_present_keys(dict(record.config))
        whole.pop("recipe", None)  # other keys take their defaults from it: they say what was done
        chosen = whole.pop("options", None) or {}
        names = {f"{group}.name": record.option(group) for group in chosen if group in whole}
        settings = flat(whole) | names
        if self.file is None:
            return settings
        kept = {key: value for key, value in settings.items() if key.split(".")[0] not in TRAINING}
        return kept | {"method.name": self.file}


def find_runs(paths: Iterable[Path]) -> list[StoredRun]:
    """Every run at or below the paths, by folder name; DataError if a path is missing or empty."""
    folders: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist.")
        here = {folder.resolve() for folder in _run_folders(path)}
        if not here:
            raise DataError(f"There is no run at or below {path} (a run has a results.json).")
        folders |= here
    return _labelled([read(folder) for folder in sorted(folders, key=_by_number)])


def _run_folders(path: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(path):
        below[:] = [name for name in below if name not in NO_RUNS]
        if "results.json" in files or "run.log" in files:
            yield Path(folder)


def _by_number(folder: Path) -> list[tuple[int, str]]:
    """Run 10 of a sweep comes after run 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in folder.parts]


def _labelled(runs: list[StoredRun]) -> list[StoredRun]:
    """Each with its path below the folder that all share."""
    if len(runs) == 1:
        return runs
    root = Path(os.path.commonpath([run.folder.parent for run in runs]))
    return [replace(run, label=run.folder.relative_to(root).as_posix()) for run in runs]


def read(folder: Path) -> StoredRun:
    """One run; a damaged or missing results.json becomes the problem that is listed."""
    try:
        return StoredRun(folder, read_record(folder))
    except FileNotFoundError:
        return StoredRun(folder, None, f"no {RESULTS}: killed, or still running")
    except OSError as error:
        return StoredRun(folder, None, f"{RESULTS} cannot be read: {error}")
    except DataError as error:
        return StoredRun(folder, None, str(error))
