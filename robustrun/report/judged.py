"""What a run's accuracies were measured on and with. Where that differs, nothing is averaged."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from robustrun.report import summary
from robustrun.report.collect import StoredRun
from robustrun.report.settings import Pool
from robustrun.run_folder.schema import EvaluationSection
from robustrun.storage.files import flat

WORDS = {  # how a difference is named; other keys are an attack's settings
    "dataset.name": "data set",
    "dataset.imbalance_ratio": "class imbalance",
    "attack.norm": "norm",
    "attack.epsilon": "radius",
    "images": "test images",
    "network": "origin of the network",
    "attacks": "attacks",
}
ASIDE = ("tracker.", "keep.", "resume", "published")  # they decide nothing, or through others
Values = dict[str, Any]
SETTINGS = [key for key in WORDS if "." in key]  # those that the configuration has


def judgement(run: StoredRun) -> Values:
    """Data, images, threat model, and every attack with its settings, as one level of keys."""
    assert run.evaluation is not None  # what was not measured is in no group
    attacks = run.evaluation.attacks
    values = {key: run.settings.get(key) for key in SETTINGS}
    values["images"] = f"{run.evaluation.images} {_fingerprint(run.evaluation)}".strip()
    values |= {"network": _origin(run), "attacks": ", ".join(entry.name for entry in attacks)}
    for entry in attacks:
        about = {"attack": entry.kind, "norm": entry.norm, "epsilon": entry.epsilon}
        values |= flat(about | entry.settings, entry.name)
    return values


def judgements(runs: Iterable[StoredRun]) -> list[Values]:
    """That of each run; equal ones are one object."""
    pool = Pool()
    return [pool.shared(judgement(run)) for run in runs]


def _fingerprint(evaluation: EvaluationSection) -> str:
    return evaluation.subset.fingerprint[:7] if evaluation.subset else ""


def _origin(run: StoredRun) -> str:
    """A file that was measured is like itself alone, and a run measured again is no further run."""
    evaluated = run.record.evaluated if run.record else None
    if evaluated is None:
        return "trained"
    if run.file is None:
        return "measured again"
    return f"{run.file} {evaluated.weights_sha256[:7]}".strip()


def networks(runs: Iterable[StoredRun]) -> list[str]:
    """What is equal for one network that was trained or measured twice: its weights, or all that
    decided its training."""
    digests: dict[int, str] = {}  # of the groups of settings that several runs have in common
    return [_weights(run) or _decided(run, digests) for run in runs]


def _weights(run: StoredRun) -> str:
    evaluated = run.record.evaluated if run.record else None
    return (evaluated.weights_sha256 or str(run.folder)) if evaluated else ""


def _decided(run: StoredRun, digests: dict[int, str]) -> str:
    blocks = run.settings.blocks.values()
    for block in blocks:
        if id(block) not in digests:
            decisive = {key: v for key, v in block.items() if not key.startswith(ASIDE)}
            digests[id(block)] = _digest(repr(decisive)) if decisive else ""
    return _digest("".join(digests[id(block)] for block in blocks))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def apart(runs: Sequence[StoredRun], values: Sequence[Values], keys: list[str]) -> list[str]:
    """The further keys, as few as do, that part runs of other judgements (`values`) that agree in
    `keys`."""
    rows: dict[tuple[str, int], Values] = {}  # one of those that are alike here
    for run, row in zip(runs, values, strict=True):
        known = summary.row(run, keys) if keys else {}
        given = {key: known.get(key) for key in keys}
        rows.setdefault((repr(given), id(row)), given | row)
    different = {id(row): row for row in values}.values()
    candidates = dict.fromkeys(key for row in different for key in row)
    return summary.separating([*rows.values()], candidates, keys)


def told(keys: list[str]) -> str:
    """The keys by which runs were parted, in words."""
    return ", ".join(WORDS.get(key, key) for key in keys)


def common(runs: list[StoredRun]) -> str:
    """What all measured runs share, for the head of a table."""
    measured = [run for run in runs if run.evaluation is not None]
    if not measured:
        return "No run was measured."
    values = {word: value for word, value in _about(measured[0]).items() if value is not None}
    for run in measured[1:]:
        about = _about(run)
        values = {word: value for word, value in values.items() if about[word] == value}
    shared = [f"{word} {summary.text(value)}".strip() for word, value in values.items()]
    return f"{'Common to all runs' if len(runs) > 1 else 'The run'}: {', '.join(shared)}."


def _about(run: StoredRun) -> dict[str, Any]:
    assert run.evaluation is not None  # `common` asks for such alone
    names = {"data set": "dataset.name", "class imbalance": "dataset.imbalance_ratio"}
    names |= {"model": "model.name", "method": "method.name", "norm": "attack.norm"}
    names |= {"radius": "attack.epsilon", "attack": "attack.name", "steps": "attack.steps"}
    values = {word: run.settings.get(key) for word, key in names.items()}
    return values | {"seed": run.settings.get("seed"), "": run.evaluation.images}
