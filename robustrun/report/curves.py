"""What the charts of report.html are drawn from, as plain values: one entry per run."""

import csv
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from robustrun.evaluation.table import as_text, level_ticks
from robustrun.report import collect, encoding, grouping, published, summary
from robustrun.report.collect import StoredRun
from robustrun.report.grouping import Group
from robustrun.run_folder.schema import CleanScore, RunRecord

log = logging.getLogger(__name__)
POINTS = 60  # of a training curve; more are not seen at its width
CURVES = ("train_loss", "train_accuracy", "validation_clean_accuracy", "validation_robust_accuracy")
SWEPT_KEYS = 4


def data(runs: list[StoredRun], groups: list[Group]) -> dict[str, Any]:
    """Everything that the page's script needs; accuracies are fractions."""
    group_of = {run.folder: place for place, group in enumerate(groups) for run in group.runs}
    looks = encoding.encoding(groups)
    varying, keys = summary.varying_keys(runs), [*groups[0].values] if groups else []
    return {
        "columns": grouping.accuracy_columns(runs),
        "groups": [_group(group) | {"look": looks.look(group)} for group in groups],
        "encoding": _encoding(looks),
        "runs": [_run(run, group_of.get(run.folder), varying) for run in runs],
        "sweeps": [_sweep(key, groups) for key in numeric_keys(keys, groups)[:SWEPT_KEYS]],
        "published": [
            vars(entry) | {"epsilon": summary.text(entry.epsilon)}
            for entry in published.comparable_entries(runs)
        ],
    }


def _encoding(looks: encoding.Encoding) -> dict[str, Any]:
    """What the script needs to paint and to explain: a name for each place."""
    return {
        name: {"names": scale.names, "title": scale.title, "ordered": scale.ordered}
        for name, scale in vars(looks).items()
    }


def _group(group: Group) -> dict[str, Any]:
    """A group's point among others: [mean, low, high, deviation, runs] of every accuracy."""
    columns = grouping.accuracy_columns(group.runs)
    return {
        "title": group.title,
        "judged": group.judged,
        "audit": group.audit,
        "accuracy": {column: _spread(group, column) for column in columns},
    }


def _run(run: StoredRun, group: int | None, varying: list[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": run.name, "folder": run.folder.name}
    record = collect.read(run.folder).record or run.record  # with curves, classes and checks
    if record is None:
        return entry | {"problem": run.problem}
    entry |= {
        "group": group,
        "status": record.run.status,
        "command": record.run.command,
        "error": record.run.error,
        "audit": summary.verdict(run),
        "environment": _environment(record),
        "settings": {k: _as_typed(run.settings[k]) for k in varying if k in run.settings},
        "training": training(run.folder / "metrics.csv"),
    }
    return entry | (_measured(run, record) if record.evaluation else {})


def _as_typed(value: Any) -> Any:
    """A radius as it is typed (8/255); any other value as it is."""
    typed = as_text(value) if isinstance(value, float) else ""
    return typed if "/" in typed else value


def _environment(record: RunRecord) -> dict[str, Any]:
    values = asdict(record.environment) if record.environment else {}
    return {name: value for name, value in values.items() if value not in (None, "")}


def _measured(run: StoredRun, record: RunRecord) -> dict[str, Any]:
    evaluation = record.evaluation
    assert evaluation is not None  # the record of a measured run
    attack = evaluation.attacks[0] if evaluation.attacks else None
    classes = record.dataset.class_names if record.dataset else ()
    curve = [
        [p.epsilon, _round(p.accuracy), *map(_round, p.ci95), as_text(p.epsilon)]
        for p in evaluation.curve
    ]
    return {
        "accuracy": {k: _round(v) for k, v in summary.accuracies(run).items()},
        "interval": {k: [_round(x) for x in v] for k, v in summary.intervals(run).items()},
        "curve": curve,
        "ticks": _ticks([point.epsilon for point in evaluation.curve]),
        "attack": f"{attack.name}, {attack.norm}" if attack else "",
        "norm": attack.norm if attack else "",
        "classes": list(classes),
        "per_class": [_per_class(evaluation.clean), _per_class(attack)],
        "checks": [[check.status, check.check, check.why] for check in evaluation.audit],
    }


def _ticks(radii: list[float]) -> list[list[Any]] | None:
    """The places of an axis' ticks, and what they say; None: as the chart has them."""
    ticks = level_ticks(radii)
    return [[*ticks], [*ticks.values()]] if ticks else None


def _per_class(score: CleanScore | None) -> list[float | None]:
    shares = (score.per_class if score else None) or ()
    return [None if share is None else _round(share) for share in shares]


def _round(share: float) -> float:
    return round(share, 5)


def training(path: Path) -> dict[str, list[float | None]]:
    """The columns of metrics.csv, thinned; empty if there are none that can be read."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return _columns(_thinned(list(csv.DictReader(file))))
    except FileNotFoundError:  # of a network that was only measured
        return {}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        log.warning("no training curve of %s, which cannot be read: %s", path, error)
        return {}


def _columns(rows: list[dict[str, str]]) -> dict[str, list[float | None]]:
    """The epochs, and every curve that has a value."""
    values = {name: [_value(row.get(name)) for row in rows] for name in CURVES}
    known = {name: column for name, column in values.items() if any(v is not None for v in column)}
    return {"epoch": [_value(row["epoch"]) for row in rows]} | known


def _thinned(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """At most POINTS of them, evenly spaced, first and last among them."""
    if len(rows) <= POINTS:
        return rows
    return [rows[round(i * (len(rows) - 1) / (POINTS - 1))] for i in range(POINTS)]


def _value(text: str | None) -> float | None:
    return round(float(text), 5) if text else None


def numeric_keys(keys: Iterable[str], groups: list[Group]) -> list[str]:
    """The grouping keys over which a line can be drawn: numbers, of more than one value."""
    values = {key: [group.values[key] for group in groups] for key in keys}
    return [
        key
        for key, numbers in values.items()
        if len(set(map(repr, numbers))) > 1 and all(map(encoding.is_number, numbers))
    ]


def _sweep(key: str, groups: list[Group]) -> dict[str, Any]:
    """Accuracies over the values of one key: a line for each combination of the others."""
    looks = encoding.encoding(groups, key)
    lines: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: float(group.values[key])):
        others = {name: value for name, value in group.values.items() if name != key}
        lines.setdefault(Group(others).title, []).append(group)
    return {
        "key": key,
        "ticks": _ticks([float(group.values[key]) for group in groups]),
        "encoding": _encoding(looks),
        "lines": [
            {
                "name": name,
                "look": looks.look(there[0]),
                "x": [group.values[key] for group in there],
                "x_text": [summary.text(group.values[key]) for group in there],
                **{
                    c: [_spread(g, c) for g in there]
                    for c in grouping.accuracy_columns(there[0].runs)
                },
            }
            for name, there in lines.items()
        ],
    }


def _spread(group: Group, column: str) -> list[float | None] | None:
    spread = group.spread(column)
    if spread is None:
        return None
    return [*map(_round, (spread.mean, spread.low, spread.high)), spread.deviation, spread.runs]
