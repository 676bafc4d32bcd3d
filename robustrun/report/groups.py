"""Runs that differ in their seed alone, as one: mean and standard deviation."""

import statistics
from dataclasses import dataclass, field
from typing import Any

from robustrun.report import published, summary
from robustrun.report.collect import Found


@dataclass(frozen=True)
class Spread:
    """The mean over runs and, of more than one, their standard deviation (n - 1)."""

    mean: float
    deviation: float | None
    runs: int


@dataclass(frozen=True)
class Group:
    """Runs with the same values of the grouping keys."""

    values: dict[str, Any]
    runs: list[Found] = field(default_factory=list)

    @property
    def audit(self) -> str:
        """The worst verdict of its runs' audits; empty if none was made."""
        found = {summary.verdict(run) for run in self.runs}
        return next((word for word in ("fail", "warn", "pass") if word in found), "")

    @property
    def threats(self) -> frozenset[tuple[Any, ...]]:
        """The data and threat models that its runs were judged by."""
        return frozenset(published.threat_model(run) for run in self.runs)

    @property
    def title(self) -> str:
        """The names alone, the other keys with their value."""
        shown = (
            str(value) if key.endswith(".name") else f"{summary.short(key)}={summary.text(value)}"
            for key, value in self.values.items()
        )
        return ", ".join(shown) or "all"

    def spread(self, column: str) -> Spread | None:
        rows = (summary.row(run, [column]) for run in self.runs)
        found = [float(row[column]) for row in rows if row.get(column) is not None]
        if not found:
            return None
        deviation = statistics.stdev(found) if len(found) > 1 else None
        return Spread(statistics.fmean(found), deviation, len(found))


def grouped(found: list[Found], keys: list[str]) -> list[Group]:
    """Groups in the order of their first run; runs without an accuracy are in none."""
    groups: dict[str, Group] = {}
    for run in found:
        if run.evaluation is None:
            continue
        row = summary.row(run, keys)
        values = {key: row.get(key) for key in keys}
        groups.setdefault(repr(values), Group(values)).runs.append(run)
    return list(groups.values())


def sort(groups: list[Group], column: str, reverse: bool = False) -> list[Group]:
    """By the mean of a column, the highest first; groups that lack it last."""
    known = [(group, spread) for group in groups if (spread := group.spread(column))]
    known.sort(key=lambda pair: pair[1].mean, reverse=not reverse)
    return [group for group, _ in known] + [g for g in groups if g.spread(column) is None]


def accuracy_columns(found: list[Found]) -> list[str]:
    """Every accuracy of any run: clean first, the worst case last."""
    names = dict.fromkeys(
        name for run in found if run.results for name in summary.accuracies(run.results)
    )
    return sorted(names, key=lambda name: (name != "clean", name == "worst_case"))


def best(group: Group, made: list[Group], column: str) -> bool:
    """Whether a group has the highest mean of a column among several that were judged alike: an
    accuracy at a small radius says nothing against one at a large radius."""
    alike = [other for other in made if other.threats == group.threats]
    means = [spread.mean for other in alike if (spread := other.spread(column))]
    own = group.spread(column)
    return own is not None and len(means) > 1 and own.mean == max(means)
