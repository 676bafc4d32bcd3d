"""Finds run folders below any paths and reads what they left."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustrun.errors import DataError


@dataclass(frozen=True)
class Found:
    """A run folder: what its results.json says, or why that could not be read."""

    folder: Path
    results: dict[str, Any] | None
    problem: str = ""


def runs(paths: Iterable[Path]) -> list[Found]:
    """Every run at or below the paths, by folder name; DataError if a path is missing or empty."""
    found: dict[Path, Found] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist.")
        here = {file.parent for file in path.rglob("results.json")}
        here |= {file.parent for file in path.rglob("run.log")}
        if not here:
            raise DataError(f"There is no run at or below {path} (a run has a results.json).")
        found |= {folder.resolve(): read(folder) for folder in here}
    return [found[folder] for folder in sorted(found)]


def read(folder: Path) -> Found:
    """One run; a damaged or missing results.json becomes the problem that is listed."""
    try:
        results = json.loads((folder / "results.json").read_text())
        if not isinstance(results, dict) or "schema_version" not in results:
            return Found(folder, None, "results.json is not a run's result")
        return Found(folder, results)
    except FileNotFoundError:
        return Found(folder, None, "no results.json: killed, or still running")
    except (OSError, ValueError) as error:
        return Found(folder, None, f"results.json cannot be read: {error}")
