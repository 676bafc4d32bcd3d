"""Runs that differ in their seed alone, as one: mean, standard deviation, 95% interval."""

import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from robustrun.report import judged, summary, uncertainty
from robustrun.report.collect import StoredRun
from robustrun.run_folder.schema import worst_status

MOST_NAMED = 5  # runs in a remark
MOST_REPEATS = 50  # the same for those that are counted once


@dataclass(frozen=True)
class Spread:
    """The mean over runs with its 95% interval and, of more than one run, their standard deviation
    (n - 1)."""

    mean: float
    deviation: float | None
    runs: int
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """Runs with the same values of the grouping keys and the same measurements, each of another
    network."""

    values: dict[str, Any]
    parted: tuple[str, ...] = ()  # those of the keys that were not asked for: see `judged.apart`
    runs: list[StoredRun] = field(default_factory=list)
    judged: str = ""  # what its runs were judged by, whatever network they are of
    repeats: list[StoredRun] = field(default_factory=list)  # of a network that is in `runs` already

    @cached_property
    def audit(self) -> str:
        """The worst verdict of its runs' audits; empty if none was made."""
        return worst_status(summary.verdict(run) for run in self.runs)

    @cached_property
    def differing(self) -> list[str]:
        """The keys in which its runs differ, the seed among them."""
        if len(self.runs) < 2:
            return []
        return [*summary.distinguishing_keys(self.runs), *summary.besides_seed(self.runs)]

    @property
    def title(self) -> str:
        """The names alone, the other keys with their value."""
        heads = summary.heads(self.values)
        shown = (
            str(value) if key.endswith(".name") else f"{head}={summary.text(value)}"
            for head, (key, value) in zip(heads, self.values.items(), strict=True)
        )
        return ", ".join(shown) or "all"

    def spread(self, column: str) -> Spread | None:
        return self._spreads.get(column)

    @cached_property
    def _spreads(self) -> dict[str, Spread]:
        shares_of: dict[str, list[float]] = {}
        for run in self.runs:
            for name, share in summary.accuracies(run).items():
                shares_of.setdefault(name, []).append(share)
        return {name: self._spread(name, shares) for name, shares in shares_of.items()}

    def _spread(self, column: str, shares: list[float]) -> Spread:
        if len(shares) == 1:
            return Spread(shares[0], None, 1, *summary.intervals(self.runs[0])[column])
        evaluation = self.runs[0].evaluation
        assert evaluation is not None  # groups are of measured runs
        interval = uncertainty.of_accuracy(shares, evaluation.clean.total)
        return Spread(statistics.fmean(shares), statistics.stdev(shares), len(shares), *interval)


def grouped(runs: list[StoredRun], keys: list[str]) -> list[Group]:
    """Groups in the order of their first run; runs without an accuracy are in none. Runs on other
    data or under other attacks are never in one group, whatever the keys."""
    measured = [run for run in runs if run.evaluation is not None]
    judgements = judged.judgements(measured)
    parted = judged.apart(measured, judgements, keys)
    alike = {id(one): sys.intern(repr(one | {"network": None})) for one in judgements}
    groups: dict[str, Group] = {}
    known: set[tuple[str, str]] = set()
    networks = judged.networks(measured)
    for run, judgement, weights in zip(measured, judgements, networks, strict=True):
        row = judgement | summary.row(run, keys)
        values = {key: row.get(key) for key in [*keys, *parted]}
        name = repr(values)
        if name not in groups:
            groups[name] = Group(values, tuple(parted), judged=alike[id(judgement)])
        network = name, weights
        (groups[name].repeats if network in known else groups[name].runs).append(run)
        known.add(network)
    return list(groups.values())


def notes(groups: list[Group]) -> list[str]:
    """What a reader of the groups' means must know of them."""
    remarks = [*_parted(groups), *_averaged(groups), *_repeated(groups)]
    return [*remarks, *_unanswered(groups), *_unaudited(groups)]


def _parted(groups: list[Group]) -> list[str]:
    keys = [*groups[0].parted] if groups else []
    if not keys:
        return []
    return [f"Not averaged together: runs that differ in {judged.told(keys)}."]


def _averaged(groups: list[Group]) -> list[str]:
    keys = dict.fromkeys(key for group in groups for key in group.differing)
    if not keys:
        return []
    said = [f"Rows of several runs are means over {', '.join(keys)}."]
    if set(keys) != {"seed"}:
        said.append("Their intervals speak of runs that were drawn like these.")
    return said


def _repeated(groups: list[Group]) -> list[str]:
    names = [run.name for group in groups for run in group.repeats]
    if not names:
        return []
    more = f" and {len(names) - MOST_REPEATS} more" if len(names) > MOST_REPEATS else ""
    told = ", ".join(names[:MOST_REPEATS]) + more
    return [f"Counted once: {told} (the same network as another run)."]


def _unanswered(groups: list[Group]) -> list[str]:
    counts = [(run, summary.unanswered(run)) for group in groups for run in group.runs]
    told = [
        f"{run.name} ({', '.join(f'{name} {count}' for name, count in of_run.items())})"
        for run, of_run in counts
        if of_run
    ]
    if not told:
        return []
    more = f" and {len(told) - MOST_NAMED} more runs" if len(told) > MOST_NAMED else ""
    names = ", ".join(told[:MOST_NAMED]) + more
    return [f"Images whose logits are NaN or infinite count as wrong; of run {names}."]


def _unaudited(groups: list[Group]) -> list[str]:
    without = [group for group in groups if not group.audit]
    if not without:
        return []
    few = "Numbers without a verdict were not" if len(without) < len(groups) else "No number was"
    return [f"{few} audited (robustrun evaluate RUN evaluation=audit)."]


def sort(groups: list[Group], column: str, reverse: bool = False) -> list[Group]:
    """By the mean of a column, the highest first; groups that lack it last."""
    known = [(group, spread) for group in groups if (spread := group.spread(column))]
    known.sort(key=lambda pair: pair[1].mean, reverse=not reverse)
    return [group for group, _ in known] + [g for g in groups if g.spread(column) is None]


def accuracy_columns(runs: list[StoredRun]) -> list[str]:
    """Every accuracy of any run: clean first, the worst case last."""
    names = dict.fromkeys(name for run in runs for name in summary.accuracies(run))
    return sorted(names, key=lambda name: (name != "clean", name == "worst_case"))


Highest = dict[tuple[str, str], Spread]


def highest(groups: list[Group], columns: Iterable[str]) -> Highest:
    """The highest mean of each column among the groups that were judged alike, where there are
    several that have it."""
    spreads: dict[tuple[str, str], list[Spread]] = {}
    for group, column in product(groups, columns):
        if spread := group.spread(column):
            spreads.setdefault((group.judged, column), []).append(spread)
    return {
        place: max(several, key=lambda spread: spread.mean)
        for place, several in spreads.items()
        if len(several) > 1
    }


def best(group: Group, column: str, tops: Highest) -> bool:
    """Whether a group has the highest mean of a column among several with the same measurements, or
    none of them is above it by more than the two are uncertain (a tie)."""
    own, top = group.spread(column), tops.get((group.judged, column))
    if own is None or top is None:
        return False
    return not uncertainty.beyond(top.mean, top.low, own.mean, own.high)
