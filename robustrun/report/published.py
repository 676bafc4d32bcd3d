"""Numbers from papers' logs and RobustBench, shown beside what was run, and marked as not run."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from robustrun.report.collect import Found

TABLE = Path(__file__).with_name("published.yaml")
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
    entries: list[dict[str, Any]] = yaml.safe_load(TABLE.read_text())
    return tuple(
        Entry(**(entry | {"epsilon": float(Fraction(entry["epsilon"]))})) for entry in entries
    )


def beside(found: Iterable[Found]) -> list[Entry]:
    """The entries with the data set, norm and radius of any of the runs."""
    models = {threat_model(run) for run in found if run.results}
    return [
        entry
        for entry in table()
        if any(
            (entry.dataset, entry.norm) == (dataset, norm)
            and epsilon is not None
            and abs(entry.epsilon - epsilon) < SAME_RADIUS
            for dataset, norm, epsilon in models
        )
    ]


def threat_model(run: Found) -> tuple[Any, Any, float | None]:
    """Data set, norm and radius that a run is judged by."""
    names = ("dataset.name", "attack.norm", "attack.epsilon")
    dataset, norm, epsilon = (run.settings.get(name) for name in names)
    return dataset, norm, float(epsilon) if isinstance(epsilon, int | float) else None


def line(entry: Entry) -> str:
    """An entry in one line of text."""
    return (
        f"{entry.name}, {entry.model}, {entry.dataset}: clean {100 * entry.clean:.2f}, "
        f"{entry.attack} {100 * entry.robust:.2f} at {entry.norm} {entry.epsilon:.3g} "
        f"({entry.source})"
    )
