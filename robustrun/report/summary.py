"""One row per run: what was varied, every accuracy, seconds and status."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustrun.evaluation.table import as_text
from robustrun.report import collect, settings
from robustrun.report.collect import StoredRun
from robustrun.storage.files import write_csv

KEYS = (  # of the configuration; columns of summary.csv whatever runs are in it
    *(f"{group}.name" for group in ("method", "model", "dataset", "attack", "optimizer")),
    *("seed", "attack.norm", "attack.epsilon", "attack.steps", "attack.step_size"),
    *("attack.restarts", "method.epsilon", "method.beta", "method.alpha", "schedule.name"),
    *("dataset.fraction", "dataset.imbalance_ratio"),
    *("training.epochs", "training.batch_size"),
    *("training.validation_fraction", "optimizer.lr", "optimizer.weight_decay"),
    *("device.name", "device.threads", "device.precision", "device.compile"),
    *("evaluation.examples", "evaluation.choose"),
)
SWEPT = ("attack.", "method.", "training.label_smoothing", "training.weight_perturbation")
SELDOM_WANTED = ("published", "plugins", "keep.")  # say nothing about the difference of runs


def varying_keys(runs: list[StoredRun]) -> list[str]:
    """The configuration keys in which the runs differ, those that follow others included."""
    keys = settings.varying_keys([run.settings for run in runs if run.record])
    return [key for key in keys if not key.startswith(SELDOM_WANTED)]


def distinguishing_keys(runs: list[StoredRun]) -> list[str]:
    """A short list of keys that tells the runs apart: those that follow from kept ones are left
    out (`method.epsilon` follows `attack.epsilon`)."""
    configs = [run.settings for run in runs if run.record]
    return separating(configs, sorted(varying_keys(runs), key=_rank), [])


def besides_seed(runs: list[StoredRun]) -> list[str]:
    """The short list of keys that tells runs apart whatever their seeds: two seeds of which one
    was trained for longer are two ways of training."""
    configs = [run.settings for run in runs if run.record]
    keys = [key for key in sorted(varying_keys(runs), key=_rank) if not key.endswith("seed")]
    return separating(configs, keys, [])


def separating(
    rows: Sequence[Mapping[str, Any]], candidates: Iterable[str], given: list[str]
) -> list[str]:
    """Those candidates in which rows differ that agree in the given keys and the candidates kept
    before."""
    parts = [0] * len(rows)  # of each row, the number of the part that it is in so far
    for key in given:
        parts = _parted(rows, parts, key)
    kept = []
    for key in candidates:
        finer = _parted(rows, parts, key)
        if max(finer, default=0) > max(parts, default=0):
            kept.append(key)
            parts = finer
    return kept


def _parted(rows: Sequence[Mapping[str, Any]], parts: list[int], key: str) -> list[int]:
    """The parts, each parted again by the values of a key."""
    numbers: dict[tuple[int, str], int] = {}
    return [
        numbers.setdefault((part, repr(row.get(key))), len(numbers))
        for part, row in zip(parts, rows, strict=True)
    ]


def _rank(key: str) -> tuple[int, int]:
    """Names first, then the seed, then what users sweep, then depth."""
    order = [key.endswith(".name"), key == "seed", key.startswith(SWEPT)]
    return (order.index(True) if True in order else len(order), key.count("."))


def row(run: StoredRun, keys: list[str]) -> dict[str, Any]:
    """The summary of one run; what it does not have stays out."""
    if run.record is None:
        return {"run": run.name, "status": run.status, "error": run.problem}
    about, config = run.record.run, run.settings
    values = {"run": run.name, "status": about.status, "seconds": about.seconds}
    values |= {"error": about.error or ""}
    values |= {key: config[key] for key in keys if key in config}
    audit = verdict(run)
    return values | accuracies(run) | ({"audit": audit} if audit else {})


def verdict(run: StoredRun) -> str:
    """What the run's audit says: fail, warn, pass, or nothing if none was made."""
    return run.evaluation.verdict if run.evaluation else ""


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
    return "-" if value is None else as_text(value) if isinstance(value, float) else str(value)


def accuracies(run: StoredRun) -> dict[str, float]:
    """Every accuracy of a run by name: clean, each attack, worst_case."""
    scores = run.evaluation.scores if run.evaluation else {}
    return {name: score.accuracy for name, score in scores.items()}


def unanswered(run: StoredRun) -> dict[str, int]:
    """How many images have logits that are not finite, by the accuracy's name, where any have."""
    return run.evaluation.unanswered if run.evaluation else {}


def intervals(run: StoredRun) -> dict[str, tuple[float, float]]:
    """The 95% interval of every accuracy of a run, by the accuracy's name."""
    scores = run.evaluation.scores if run.evaluation else {}
    return {name: score.ci95 for name, score in scores.items()}


def header(keys: Iterable[str], attacks: Iterable[str]) -> list[str]:
    """The columns of a file: the run, `keys`, every accuracy, the rest, the intervals' ends."""
    names = ["clean", *attacks, "worst_case"]
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    return ["run", "status", *keys, *names, "audit", "seconds", "error", "images", *ends]


def attacks(runs: Iterable[StoredRun]) -> list[str]:
    """The attacks that any of the runs was measured with."""
    names = dict.fromkeys(name for run in runs for name in accuracies(run))
    return [name for name in names if name not in ("clean", "worst_case")]


def _filed(run: StoredRun, keys: list[str]) -> dict[str, Any]:
    """A run's row of a file: accuracies are fractions, as in results.json."""
    values = row(run, keys)
    for name, (low, high) in intervals(run).items():
        values |= {f"{name}_low": low, f"{name}_high": high}
    return values | ({"images": run.evaluation.clean.total} if run.evaluation else {})


def write(path: Path, runs: list[StoredRun], keys: list[str], measured: list[StoredRun]) -> None:
    """summary.csv: columns are the same whichever of the runs `measured` were selected in `runs`,
    and whatever they have in common: KEYS, the given keys, and all other settings as JSON."""
    known = [*dict.fromkeys([*KEYS, *keys])]
    others = OtherSettings(known)
    rows = (_filed(run, known) | {"settings": others.json(run.settings)} for run in runs)
    write_csv(path, [*header(known, attacks(measured)), "settings"], rows)


class OtherSettings:
    """Settings that have no column of their own, as JSON; each group's is written once."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._texts: dict[int, str] = {}

    def json(self, of_run: settings.Settings) -> str:
        texts = (self._text(block) for block in of_run.blocks.values())
        return f"{{{', '.join(text for text in texts if text)}}}"

    def _text(self, block: settings.Block) -> str:
        if id(block) not in self._texts:
            others = {key: value for key, value in block.items() if key not in self._known}
            self._texts[id(block)] = json.dumps(others, default=str)[1:-1]
        return self._texts[id(block)]


@dataclass
class SweepSummary:
    """summary.csv of a sweep, which grows with each run: what a run left is read once.

    A column holds the checked value where an override names a key of the configuration, else (a
    group such as `method`) the word that was typed.
    """

    sweep: Path
    overrides: dict[Path, dict[str, str]] = field(default_factory=dict)
    rows: dict[Path, dict[str, Any]] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)  # that any override names
    attacks: dict[str, None] = field(default_factory=dict)  # that any run was measured with

    def add(self, folder: Path, overrides: dict[str, str]) -> None:
        """The row of the run in `folder`. A key that is new has a value in every row, so that all
        are read again then."""
        self.overrides[folder] = overrides
        new = [key for key in overrides if key not in self.keys]
        self.keys += new
        for place in self.overrides if new else [folder]:
            run = collect.read(place)
            self.attacks |= dict.fromkeys(attacks([run]))
            self.rows[place] = self.overrides[place] | _filed(run, self.keys)

    def write(self) -> None:
        """The whole file in one step: a reader sees the old one or the new one."""
        path = self.sweep / "summary.csv"
        write_csv(path, header(self.keys, self.attacks), list(self.rows.values()))


def write_sweep(sweep: Path, entries: Iterable[tuple[Path, dict[str, str]]]) -> None:
    """summary.csv of a sweep so far, from each run's folder and its overrides."""
    summary = SweepSummary(sweep)
    for folder, overrides in entries:
        summary.add(folder, overrides)
    summary.write()
