"""One row per run: what was varied, every accuracy, seconds and status."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robustrun.report import collect
from robustrun.report.collect import Found
from robustrun.results import audit_verdict, write_csv

KEYS = (  # of the configuration; columns of summary.csv whatever runs are in it
    *(f"{group}.name" for group in ("method", "model", "dataset", "attack", "optimizer")),
    *("seed", "attack.norm", "attack.epsilon", "attack.steps", "attack.step_size"),
    *("attack.restarts", "method.epsilon", "method.beta", "method.alpha", "schedule.name"),
    *("dataset.imbalance_ratio", "training.epochs", "training.batch_size"),
    *("training.validation_fraction", "optimizer.lr", "optimizer.weight_decay"),
    *("device.name", "device.threads", "device.precision", "device.compile"),
    *("evaluation.examples", "evaluation.choose"),
)
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
    return separating(configs, sorted(varied(found), key=_rank), [])


def besides_seed(found: list[Found]) -> list[str]:
    """The short list of keys that tells runs apart whatever their seeds: two seeds of which one
    was trained for longer are two ways of training."""
    configs = [run.settings for run in found if run.results]
    keys = [key for key in sorted(varied(found), key=_rank) if not key.endswith("seed")]
    return separating(configs, keys, [])


def separating(
    rows: list[dict[str, Any]], candidates: Iterable[str], given: list[str]
) -> list[str]:
    """Those candidates in which rows differ that agree in the given keys and the candidates kept
    before."""
    kept = [*given]
    for key in candidates:
        seen: dict[tuple[str, ...], set[str]] = {}
        for row in rows:
            group = tuple(repr(row.get(name)) for name in kept)
            seen.setdefault(group, set()).add(repr(row.get(key)))
        if any(len(values) > 1 for values in seen.values()):
            kept.append(key)
    return kept[len(given) :]


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


def heads(keys: Iterable[str]) -> list[str]:
    """Keys as heads of columns: short where that names one alone."""
    keys = list(keys)
    names = [short(key) for key in keys]
    return [name if names.count(name) == 1 else key for key, name in zip(keys, names, strict=True)]


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


def intervals(run: Found) -> dict[str, tuple[float, float]]:
    """The 95% interval of every accuracy of a run, by the accuracy's name."""
    if run.evaluation is None:
        return {}
    scores = {attack["name"]: attack for attack in run.evaluation["attacks"]}
    scores = {"clean": run.evaluation["clean"]} | scores
    scores |= {"worst_case": run.evaluation["worst_case"]}
    return {name: (score["ci95"][0], score["ci95"][1]) for name, score in scores.items()}


def header(keys: Iterable[str], attacks: Iterable[str]) -> list[str]:
    """The columns of a file: the run, `keys`, every accuracy, the rest, the intervals' ends."""
    names = ["clean", *attacks, "worst_case"]
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    return ["run", "status", *keys, *names, "audit", "seconds", "error", "images", *ends]


def attacks(found: Iterable[Found]) -> list[str]:
    """The attacks that any of the runs was measured with."""
    names = dict.fromkeys(name for run in found for name in accuracies(run.results or {}))
    return [name for name in names if name not in ("clean", "worst_case")]


def _filed(run: Found, keys: list[str]) -> dict[str, Any]:
    """A run's row of a file: accuracies are fractions, as in results.json."""
    made = row(run, keys)
    for name, (low, high) in intervals(run).items():
        made |= {f"{name}_low": low, f"{name}_high": high}
    return made | ({"images": run.evaluation["clean"]["total"]} if run.evaluation else {})


def write(path: Path, found: list[Found], keys: list[str], measured: list[Found]) -> None:
    """summary.csv: columns are the same whichever of the runs `measured` were selected in `found`,
    and whatever they have in common: KEYS, the given keys, and all other settings as JSON."""
    known = dict.fromkeys([*KEYS, *keys])
    rows = []
    for run in found:
        others = {key: value for key, value in run.settings.items() if key not in known}
        rows.append(_filed(run, list(known)) | {"settings": json.dumps(others, default=str)})
    write_csv(path, [*header(known, attacks(measured)), "settings"], rows)


def write_sweep(sweep: Path, runs: Iterable[tuple[Path, dict[str, str]]]) -> None:
    """summary.csv of a sweep so far, from each run's folder and its overrides.

    A column holds the checked value where the override names a key of the configuration, else
    (a group such as `method`) the word that was typed.
    """
    runs = list(runs)
    keys = list(dict.fromkeys(key for _, overrides in runs for key in overrides))
    found = [collect.read(folder) for folder, _ in runs]
    rows = [overrides | _filed(run, keys) for run, (_, overrides) in zip(found, runs, strict=True)]
    write_csv(sweep / "summary.csv", header(keys, attacks(found)), rows)
