"""The tables of report.html as values, which its template writes down."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from robustrun.report import grouping, summary, tables
from robustrun.report.collect import StoredRun
from robustrun.report.grouping import Group

MARKS = {"pass": "✓", "warn": "!", "fail": "✗"}  # of an audit, beside a number
VERDICTS = {
    "pass": "the audit passes",
    "warn": "the audit warns",
    "fail": "the audit fails: not to be believed",
    "": "not audited",
}


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it is sorted by (None: last)."""

    text: str
    value: Any
    audit: str = ""  # the verdict that is marked beside the number
    best: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Row:
    cells: list[Cell]
    link: str = ""  # from its first cell
    details: bool = False  # whether the page has more of it


@dataclass(frozen=True)
class Table:
    name: str
    head: list[str]
    rows: list[Row]


UNKNOWN = Cell("-", None)


def of_groups(runs: list[StoredRun], groups: list[Group], shown: list[Group]) -> Table:
    """Means over the runs that differ in their seed alone, for those groups that are shown."""
    keys, columns = [*groups[0].values] if groups else [], grouping.accuracy_columns(runs)
    head = [*summary.heads(keys), *(f"{name} (%)" for name in columns), "runs"]
    tops = grouping.highest(groups, columns)
    rows = []
    for group in shown:
        cells = [Cell(summary.text(value), value) for value in group.values.values()]
        cells += [_mean(group, column, tops) for column in columns]
        rows.append(Row([*cells, Cell(str(len(group.runs)), len(group.runs))]))
    return Table("groups", head, rows)


def _mean(group: Group, column: str, tops: grouping.Highest) -> Cell:
    spread = group.spread(column)
    if spread is None:
        return UNKNOWN
    best = grouping.best(group, column, tops)
    return Cell(tables.percent(spread), spread.mean, doubt(column, group.audit), best)


def doubt(column: str, audit: str) -> str:
    """The audit's verdict on an accuracy: it says nothing of the clean one."""
    return "" if column == "clean" else audit


def of_runs(runs: list[StoredRun], shown: list[StoredRun], beside: Path) -> Table:
    """A row for each run that is shown, linked from a page in the folder `beside`."""
    keys, columns = summary.distinguishing_keys(runs), grouping.accuracy_columns(runs)
    head = ["run", "status", *summary.heads(keys), *(f"{c} (%)" for c in columns), "seconds"]
    return Table("runs", head, [_run(run, keys, columns, beside) for run in shown])


def _run(run: StoredRun, keys: list[str], columns: list[str], beside: Path) -> Row:
    row, unanswered = summary.row(run, keys), summary.unanswered(run)
    bounds, seconds = summary.intervals(run), row.get("seconds")
    cells = [
        Cell(run.name, run.name),
        Cell(row["status"], row["status"]),
        *(Cell(summary.text(row.get(key)), row.get(key)) for key in keys),
        *(_accuracy(row, column, bounds, unanswered.get(column, 0)) for column in columns),
        Cell("-" if seconds is None else f"{seconds:.1f}", seconds),
    ]
    link = os.path.relpath(run.folder, beside.resolve()).replace(os.sep, "/")
    return Row(cells, quote(link) + "/", details=run.record is not None)


def _accuracy(
    row: dict[str, Any], column: str, bounds: dict[str, tuple[float, float]], unanswered: int
) -> Cell:
    if column not in row or column not in bounds:
        return UNKNOWN
    text = f"{100 * row[column]:.2f} {tables.interval(*bounds[column])}"
    remark = f"{unanswered} without an answer" if unanswered else ""
    return Cell(text, row[column], doubt(column, row.get("audit", "")), remark=remark)
