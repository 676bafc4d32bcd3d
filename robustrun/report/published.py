"""Numbers from papers' logs and RobustBench, shown beside what was run, and marked as not run."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from robustrun.evaluation.table import as_text
from robustrun.report.collect import StoredRun

TABLE = Path(__file__).with_name("published.yaml")
ThreatModel = tuple[Any, Any, float | None]
SAME_RADIUS = 0.0005  # 0.031 and 8/255 are what the field takes for the same


@dataclass(frozen=True)
class Entry:
    """One published result; accuracies are fractions."""

    name: str
    model: str
    dataset: str
    norm: str
    epsilon: float
    attack: str
    clean: float
    robust: float
    source: str


@cache
def table() -> tuple[Entry, ...]:
    entries: list[dict[str, Any]] = yaml.safe_load(TABLE.read_bytes())
    return tuple(
        Entry(**(entry | {"epsilon": float(Fraction(entry["epsilon"]))})) for entry in entries
    )


def comparable_entries(runs: Iterable[StoredRun]) -> list[Entry]:
    """The entries with the data set, norm and radius of any of the runs."""
    return _entries({threat_model(run) for run in runs if run.record})


def _entries(models: Iterable[ThreatModel]) -> list[Entry]:
    return [entry for entry in table() if any(_of(entry, *model) for model in models)]


def _of(entry: Entry, dataset: Any, norm: Any, epsilon: float | None) -> bool:
    near = epsilon is not None and abs(entry.epsilon - epsilon) < SAME_RADIUS
    return near and (entry.dataset, entry.norm) == (dataset, norm)


def threat_model(run: StoredRun) -> ThreatModel:
    """Data set, norm and radius that a run is judged by; a part of a data set is another one."""
    norm, epsilon = (run.settings.get(name) for name in ("attack.norm", "attack.epsilon"))
    configured = run.record.config.get("dataset") if run.record else None
    known = float(epsilon) if isinstance(epsilon, int | float) else None
    return _whole(configured) if isinstance(configured, dict) else None, norm, known


def _whole(dataset: dict[str, Any]) -> Any:
    """The name, as registered, of a data set that has all its classes and training images."""
    parts = dataset.get("imbalance_ratio"), dataset.get("classes"), dataset.get("fraction", 1)
    return dataset.get("name") if parts == (None, None, 1) else None


def lines(runs: list[StoredRun]) -> list[str]:
    """The entries beside the runs, and what keeps the two from being compared."""
    entries = comparable_entries(runs)
    in_part = Counter(threat_model(run) for run in runs if _measured_in_part(run))
    parts = sum(count for model, count in in_part.items() if _entries([model]))
    if parts:
        few = f"{parts} of the {len(runs)} runs here measured a part of the test set"
        return [*map(format_entry, entries), f"{few}; published numbers are of the whole one"]
    return [*map(format_entry, entries)]


def _measured_in_part(run: StoredRun) -> bool:
    subset = run.evaluation.subset if run.evaluation else None
    return subset is not None and subset.size < subset.of


def format_entry(entry: Entry) -> str:
    """An entry in one line of text."""
    return (
        f"{entry.name}, {entry.model}, {entry.dataset}: clean {100 * entry.clean:.2f}, "
        f"{entry.attack} {100 * entry.robust:.2f} at {entry.norm} "
        f"{as_text(entry.epsilon)} ({entry.source})"
    )
