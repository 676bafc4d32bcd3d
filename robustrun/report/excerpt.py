"""What a page shows of more groups and runs than a browser can: the best of each kind."""

from robustrun.report.collect import StoredRun
from robustrun.report.grouping import Group


def of_groups(groups: list[Group], most: int) -> list[Group]:
    """At most `most` groups, in their order: of those that were judged alike, the Pareto front of
    clean and worst-case accuracy, then the best by worst case; the same number of each kind."""
    if len(groups) <= most:
        return groups
    alike: dict[str, list[Group]] = {}
    for group in groups:
        alike.setdefault(group.judged, []).append(group)
    ranks = {id(group): rank for kind in alike.values() for rank, group in enumerate(_ranked(kind))}
    chosen = {id(group) for group in sorted(groups, key=lambda group: ranks[id(group)])[:most]}
    return [group for group in groups if id(group) in chosen]


def of_runs(runs: list[StoredRun], groups: list[Group], most: int) -> list[StoredRun]:
    """At most `most` runs, in their order: the first run of each group, then the second, then runs
    that are in none of these groups."""
    if len(runs) <= most:
        return runs
    ranks = {run.folder: rank for group in groups for rank, run in enumerate(group.runs)}
    ordered = sorted(runs, key=lambda run: ranks.get(run.folder, len(runs)))
    chosen = {run.folder for run in ordered[:most]}
    return [run for run in runs if run.folder in chosen]


def _ranked(groups: list[Group]) -> list[Group]:
    """The Pareto front, then the others; the best by worst case first."""
    by_worst = sorted(groups, key=lambda group: _mean(group, "worst_case"), reverse=True)
    front: dict[int, None] = {}
    highest = -1.0
    for group in sorted(by_worst, key=lambda group: _mean(group, "clean"), reverse=True):
        if _mean(group, "worst_case") > highest:
            highest = _mean(group, "worst_case")
            front[id(group)] = None
    return sorted(by_worst, key=lambda group: id(group) not in front)


def _mean(group: Group, column: str) -> float:
    spread = group.spread(column)
    return spread.mean if spread else 0.0
