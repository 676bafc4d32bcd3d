"""Which runs, in which order, in which groups: `--where`, `--sort` and `--by`."""

import math
import operator
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from itertools import chain
from typing import Any

from robustrun.configuration.words import fraction
from robustrun.errors import RobustrunError
from robustrun.report import settings, summary
from robustrun.report.collect import StoredRun

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def columns(runs: Iterable[StoredRun]) -> dict[str, None]:
    """Every column that the runs have: what is measured, then every key of the configuration."""
    runs = list(runs)
    rows = (summary.row(run, []) for run in runs)
    return dict.fromkeys(chain(*rows)) | settings.keys(run.settings for run in runs)


def _value(run: StoredRun, column: str) -> Any:
    return summary.row(run, [column]).get(column)


def resolve(word: str, known: Iterable[str], option: str) -> str:
    """The column that a word names: itself, a group (`method` is `method.name`), or a key's end
    (`epsilon` is `attack.epsilon`, `beta` is `method.beta`)."""
    known = list(known)
    # Other blocks repeat the radius and the like of these two, or have their own.
    for candidate in (word, f"{word}.name", f"attack.{word}", f"method.{word}"):
        if candidate in known:
            return candidate
    ends = [name for name in known if name.endswith(f".{word}")]
    if len(ends) == 1:
        return ends[0]
    names = {name.removesuffix(".name") for name in known}
    near = get_close_matches(word, sorted(names | {summary.short(name) for name in known}))
    guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    few = ", ".join(sorted(name for name in names if "." not in name))  # all would be hundreds
    raise RobustrunError(
        f"{option} {word}: no run has that column.{guess} Known: {few}, and every key of the "
        "configuration, such as method.beta."
    )


def where(
    runs: list[StoredRun], conditions: Iterable[str], option: str = "--where"
) -> list[StoredRun]:
    """The runs that fulfil every condition: `dataset=cifar10`, `worst_case>=0.5`, `seed=0,1`.

    A damaged folder fulfils none, since nothing is known of it; it is kept, to be listed."""
    conditions = list(conditions)
    known = columns(runs) if conditions else {}
    for condition in conditions:
        column, test = _condition(condition, known, option)
        runs = [run for run in runs if run.record is None or test(_value(run, column))]
    return runs


def _condition(
    condition: str, known: Iterable[str], option: str
) -> tuple[str, Callable[[Any], bool]]:
    parts = re.fullmatch(r"([^=<>!]+?)(>=|<=|!=|=|<|>)(.*)", condition.strip())
    if parts is None:
        raise RobustrunError(
            f"{option} {condition}: write COLUMN=VALUE, as in {option} dataset=cifar10 (also !=, "
            "<, <=, > and >=; several values with commas)."
        )
    word, sign, wanted = (part.strip() for part in parts.groups())
    column = resolve(word, known, option)
    if sign in COMPARISONS:
        bound = _number(wanted)
        if bound is None:
            raise RobustrunError(f"{option} {condition}: {wanted!r} is not a number.")
        compare = COMPARISONS[sign]
        return column, lambda value: (n := _number(value)) is not None and compare(n, bound)
    allowed = wanted.split(",")
    return column, lambda value: any(_same(value, one) for one in allowed) == (sign == "=")


def _number(value: Any) -> float | None:
    try:
        if not isinstance(value, str):
            return float(value)
        share = value.removesuffix("%")  # 50% is what tables show for a half
        return float(fraction(share)) / (1 if share == value else 100)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None


def _same(value: Any, wanted: str) -> bool:
    if isinstance(value, bool) or value is None:
        return str(value).lower() == wanted.lower() or (value is None and wanted == "null")
    ours, theirs = _number(value), _number(wanted)
    if ours is None or theirs is None:
        return str(value) == wanted
    return math.isclose(ours, theirs, rel_tol=1e-6)  # 0.0314 is not 8/255, 0.03137255 is


def ordered(runs: list[StoredRun], word: str | None, reverse: bool = False) -> list[StoredRun]:
    """By a column: the best accuracy first, anything else from small to large; unknown last."""
    if word is None:
        return runs
    column = resolve(word, columns(runs), "--sort")
    values = {id(run): _value(run, column) for run in runs}
    there = [run for run in runs if values[id(run)] is not None]
    downwards = is_accuracy(runs, column) != reverse
    there.sort(key=lambda run: _rank(values[id(run)]), reverse=downwards)
    return there + [run for run in runs if values[id(run)] is None]


def is_accuracy(runs: Iterable[StoredRun], column: str) -> bool:
    return any(column in summary.accuracies(run) for run in runs)


def _rank(value: Any) -> tuple[int, float, str]:
    number = _number(value)
    return (1, 0.0, str(value)) if number is None else (0, number, "")


def keys_of_groups(runs: list[StoredRun], words: Iterable[str]) -> list[str]:
    """The columns to group by: those asked for, or what tells runs apart besides their seed."""
    words = [word for part in words for word in part.split(",") if word]
    if not words:
        return summary.besides_seed(runs)
    known = columns(runs)
    return [resolve(word, known, "--by") for word in words]
