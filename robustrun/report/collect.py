"""Finds run folders below any paths and reads what they left."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from robustrun.errors import DataError
from robustrun.run_folder.schema import SCHEMA_VERSION, option
from robustrun.storage.files import flat

TRAINING = {"method", "recipe", "training", "optimizer", "schedule"}  # of the configuration
NO_RUNS = {"checkpoint", "figures", ".git", ".venv", "__pycache__"}  # folders that hold none


@dataclass(frozen=True)
class StoredRun:
    """A run folder: what its results.json says, or why that could not be read."""

    folder: Path
    results: dict[str, Any] | None
    problem: str = ""
    label: str = ""  # what tells it from the others

    @property
    def name(self) -> str:
        return self.label or self.folder.name

    @property
    def evaluation(self) -> dict[str, Any] | None:
        return self.results["evaluation"] if self.results else None

    @property
    def file(self) -> str | None:
        """The name of the file that was measured; None for what a run has trained."""
        about = (self.results or {}).get("evaluated", {})
        source = Path(about.get("source", ""))
        guess = "weights" if source.suffix and not source.is_dir() else "run"  # of older versions
        return None if about.get("kind", guess) == "run" else source.name

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration as one level of dotted keys, in which `GROUP.name` is what the user
        chose: `trades_awp`, not the class behind it. Of a file nothing that tells of training: its
        name stands in the method's place."""
        if not self.results:
            return {}
        whole = dict(self.results["config"])
        chosen = whole.pop("options", None) or {}
        names = {f"{group}.name": option(self.results, group) for group in chosen if group in whole}
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
        raw = json.loads((folder / "results.json").read_bytes())
    except FileNotFoundError:
        return StoredRun(folder, None, "no results.json: killed, or still running")
    except (OSError, ValueError, RecursionError) as error:
        return StoredRun(folder, None, f"results.json cannot be read: {error}")
    try:
        return StoredRun(folder, _whole(raw))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = error if type(error) is ValueError else f"{type(error).__name__}: {error}"
        return StoredRun(folder, None, f"results.json is not a run's result ({reason})")


def _whole(raw: Any) -> dict[str, Any]:
    """A result with every section that readers look at, empty where this schema, an older one, or
    a run that failed early has none; ValueError and the like if it is none."""
    version = raw["schema_version"]
    if version > SCHEMA_VERSION:
        raise ValueError(f"schema_version {version} is newer than this robustrun")
    about = {"id": "", "command": "", "seconds": None, "error": None} | raw["run"]
    about["status"] = str(about["status"])
    about["seconds"] = None if about["seconds"] is None else float(about["seconds"])
    sections = {name: {} | (raw.get(name) or {}) for name in ("dataset", "model", "environment")}
    configured = {"published": []} | (raw.get("config") or {})
    whole: dict[str, Any] = raw | sections | {"run": about, "config": configured}
    whole["training"] = raw.get("training") or None
    whole["evaluation"] = _evaluation(raw["evaluation"]) if raw.get("evaluation") else None
    return whole


def _evaluation(raw: dict[str, Any]) -> dict[str, Any]:
    evaluation = {"subset": {}, "curve": [], "audit": []} | raw
    for entry in [
        evaluation["clean"],
        evaluation["worst_case"],
        *evaluation["attacks"],
        *evaluation["curve"],
    ]:
        low, high = entry["ci95"]
        numbers = (entry["accuracy"], low, high)
        if not all(isinstance(n, int | float) and 0 <= n <= 1 for n in numbers):
            raise ValueError(f"an accuracy is {entry['accuracy']!r}")
    for attack in evaluation["attacks"]:
        attack["name"], attack["epsilon"] = str(attack["name"]), float(attack["epsilon"])
    for check in evaluation["audit"]:
        check["status"] = str(check["status"])
    return evaluation
