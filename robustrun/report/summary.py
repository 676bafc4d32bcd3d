"""One row per run: what was varied, every accuracy, seconds and status."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robustrun.report import collect
from robustrun.report.collect import Found
from robustrun.results import audit_verdict, write_csv

SELDOM_WANTED = ("published", "plugins")  # lists that say nothing about the difference of runs


def varied(found: list[Found]) -> list[str]:
    """The configuration keys in which the runs differ, those that follow others included."""
    configs = [run.settings for run in found if run.results]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [
        key
        for key in keys
        if not key.startswith(SELDOM_WANTED) and len({repr(c.get(key)) for c in configs}) > 1
    ]


def telling(found: list[Found]) -> list[str]:
    """A short list of keys that tells the runs apart: those that follow from kept ones are left
    out (`method.epsilon` follows `attack.epsilon`)."""
    configs = [run.settings for run in found if run.results]
    kept: list[str] = []
    for key in sorted(varied(found), key=_rank):
        seen: dict[tuple[str, ...], set[str]] = {}
        for config in configs:
            group = tuple(repr(config.get(name)) for name in kept)
            seen.setdefault(group, set()).add(repr(config.get(key)))
        if any(len(values) > 1 for values in seen.values()):
            kept.append(key)
    return kept


def _rank(key: str) -> tuple[int, int]:
    """Names first, then the seed, then what users sweep, then depth."""
    order = [key.endswith(".name"), key == "seed", key.startswith(("attack.", "method."))]
    return (order.index(True) if True in order else len(order), key.count("."))


def row(run: Found, keys: list[str]) -> dict[str, Any]:
    """The summary of one run; what it does not have stays out."""
    if run.results is None:
        return {"run": run.name, "status": "damaged", "error": run.problem}
    about, config = run.results["run"], run.settings
    made = {"run": run.name, "status": about["status"], "seconds": about["seconds"]}
    made |= {"error": about["error"] or ""}
    made |= {key: config[key] for key in keys if key in config}
    audit = verdict(run)
    return made | accuracies(run.results) | ({"audit": audit} if audit else {})


def verdict(run: Found) -> str:
    """What the run's audit says: fail, warn, pass, or nothing if none was made."""
    return audit_verdict(run.evaluation or {})


def short(key: str) -> str:
    """A key as it is shown: `method` for `method.name`, `beta` for `method.beta`."""
    return key.removesuffix(".name").rpartition(".")[2]


def text(value: Any) -> str:
    """A value as it is shown."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def accuracies(results: dict[str, Any]) -> dict[str, float]:
    """Every accuracy of a run by name: clean, each attack, worst_case."""
    evaluation = results.get("evaluation")
    if not evaluation:
        return {}
    found = {"clean": evaluation["clean"]["accuracy"]}
    found |= {attack["name"]: attack["accuracy"] for attack in evaluation["attacks"]}
    return found | {"worst_case": evaluation["worst_case"]["accuracy"]}


def header(rows: list[dict[str, Any]], keys: list[str]) -> list[str]:
    """Columns in reading order: what was varied, accuracies, then the rest."""
    fixed, last = ["run", "status", "seconds", "error"], ["worst_case", "audit"]
    measured = dict.fromkeys(
        name for row in rows for name in row if name not in (*fixed, *keys, *last)
    )
    there = [name for name in last if any(name in row for row in rows)]
    return ["run", "status", *keys, *measured, *there, "seconds", "error"]


def write(path: Path, found: list[Found], keys: list[str]) -> None:
    """summary.csv."""
    rows = [row(run, keys) for run in found]
    write_csv(path, header(rows, keys), rows)


def write_sweep(sweep: Path, runs: Iterable[tuple[Path, dict[str, str]]]) -> None:
    """summary.csv of a sweep so far, from each run's folder and its overrides.

    A column holds the checked value where the override names a key of the configuration, else
    (a group such as `method`) the word that was typed.
    """
    runs = list(runs)
    keys = list(dict.fromkeys(key for _, overrides in runs for key in overrides))
    rows = [overrides | row(collect.read(folder), keys) for folder, overrides in runs]
    write_csv(sweep / "summary.csv", header(rows, keys), rows)
