"""results.json and the other artefacts of a run: their schema, and writing that never tears."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor

from robustrun.evaluation.outcome import AttackResult, Measured
from robustrun.evaluation.statistics import accuracy, per_class, wilson
from robustrun.storage.files import write_atomically, write_csv, write_json

SCHEMA_VERSION = 1
METRICS = (
    "epoch",
    "step",
    "lr",
    "train_loss",
    "train_accuracy",
    "validation_clean_accuracy",
    "validation_robust_accuracy",
    "seconds",
)


@dataclass(frozen=True)
class RunResult:
    """A finished run: where it is, and what its results.json says."""

    folder: Path
    results: dict[str, Any]


def write_metrics(path: Path, history: list[dict[str, Any]]) -> None:
    """metrics.csv, one row per epoch."""
    write_csv(path, list(METRICS), history)


def write_weights(path: Path, state: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Weights as safetensors; `about` goes into the file's header."""
    tensors = {name: value.contiguous() for name, value in state.items()}
    header = {"robustrun": json.dumps(about)}  # one entry: safetensors keeps no order of several
    write_atomically(path, safetensors.torch.save(tensors, header))


def write_predictions(path: Path, measured: Measured, indices: np.ndarray) -> None:
    """predictions.npz: per measured example its place in the test set, label, clean prediction
    (-1: its logits are not finite), and for every attack (`attack/NAME`) whether it stayed
    correct."""
    arrays: dict[str, Any] = {
        "index": indices,
        "label": measured.labels,
        "prediction": measured.predictions,
    }
    arrays |= {f"attack/{name}": result.robust for name, result in measured.attacks.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def score(right: np.ndarray) -> dict[str, Any]:
    """Accuracy with its count and interval."""
    correct, total = int(right.sum()), len(right)
    return {
        "accuracy": accuracy(right),
        "correct": correct,
        "total": total,
        "ci95": list(wilson(correct, total)),
    }


def detailed(right: np.ndarray, measured: Measured) -> dict[str, Any]:
    """A score with each class's accuracy and their mean (balanced accuracy)."""
    classes = per_class(right, measured.labels, measured.classes)
    known = [share for share in classes if share is not None]
    balanced = sum(known) / len(known) if known else 0.0
    return score(right) | {"per_class": classes, "balanced_accuracy": balanced}


def _without_answer(none: np.ndarray) -> dict[str, int]:
    """How many of the wrong are so because the logits were not finite."""
    return {"non_finite": int(none.sum())}


def _attack(result: AttackResult, measured: Measured) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": result.name, "attack": result.kind}
    entry |= {"norm": result.norm, "epsilon": result.epsilon}
    entry |= detailed(result.robust, measured) | _without_answer(result.no_answer)
    entry |= {"seconds": result.seconds, "settings": result.settings}
    if result.stages:
        entry["stages"] = result.stages
    if result.perturbed_right is not None:
        # Noise can turn a wrong answer right; this is the share that is right under it.
        entry["perturbed_accuracy"] = accuracy(result.perturbed_right)
    return entry


def evaluation_block(
    measured: Measured, subset: dict[str, Any], audit: list[dict[str, Any]]
) -> dict[str, Any]:
    """The `evaluation` part of results.json."""
    return {
        "subset": subset,
        "clean": detailed(measured.clean_right, measured)
        | _without_answer(measured.no_answer)
        | {"seconds": measured.seconds},
        "attacks": [_attack(result, measured) for result in measured.attacks.values()],
        "worst_case": score(measured.worst_case),
        "curve": [{"epsilon": radius} | score(right) for radius, right in measured.curve],
        "audit": audit,
    }


def audit_verdict(evaluation: dict[str, Any]) -> str:
    """The worst status of the audit's checks: fail, warn or pass; empty if none were made."""
    return worst_status(check["status"] for check in evaluation.get("audit", []))


def worst_status(statuses: Iterable[str]) -> str:
    """The worst of audits' statuses; empty if there is none."""
    present = set(statuses)
    return next((status for status in ("fail", "warn", "pass") if status in present), "")


def option(results: dict[str, Any], group: str) -> str:
    """What the user chose of a group; of runs that did not note it, the registered name."""
    config = results["config"]
    if group == "model" and results.get("model"):
        return str(results["model"]["name"])  # an architecture of a library
    return str(config.get("options", {}).get(group) or config[group]["name"])


def images_measured(evaluation: dict[str, Any]) -> str:
    """Which test images were measured, in words."""
    subset = evaluation["subset"]
    if not subset or subset["size"] == subset["of"]:
        return f"all {evaluation['clean']['total']} test images"
    return f"{subset['size']} of {subset['of']} test images ({subset['chosen']})"


def write_refusal(folder: Path, raw: Any, error: str) -> None:
    """results.json of a run whose configuration was refused before any work started."""
    about = {"id": folder.name, "status": "failed", "error": error, "seconds": 0.0}
    write_json(
        folder / "results.json", {"schema_version": SCHEMA_VERSION, "run": about, "config": raw}
    )
