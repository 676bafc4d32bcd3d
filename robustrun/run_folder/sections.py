"""What results.json says about data, network, training and machine, beside the accuracies."""

import hashlib
import platform
import socket
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from robustrun.configuration.run_config import RunConfig
from robustrun.datasets.run_data import Data
from robustrun.evaluation.outcome import AttackResult, Evaluation
from robustrun.evaluation.settings import EvaluationPlan
from robustrun.evaluation.statistics import accuracy, per_class, wilson
from robustrun.training.state import TrainingResult
from robustrun.types import Images, Runtime, Splits


def dataset_section(cfg: RunConfig, data: Data) -> dict[str, Any]:
    splits, validation = data.splits, data.validation
    prints = (value for value in data.fingerprints.values() if value is not None)
    return {
        "name": cfg.name_of("dataset"),
        "classes": splits.classes,
        "class_names": list(splits.class_names),
        "train_size": len(data.train),
        "validation_size": 0 if validation is None else len(validation),
        "test_size": len(splits.test),
        "input_shape": list(data.train.shape),
        "class_counts": data.class_counts.tolist(),
        "test_class_counts": torch.bincount(splits.test.labels, minlength=splits.classes).tolist(),
        "fingerprint": hashlib.sha256("".join(prints).encode()).hexdigest(),
        "fingerprints": data.fingerprints,
    }


def model_section(cfg: RunConfig, model: nn.Module) -> dict[str, Any]:
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {
        "name": cfg.name_of("model"),
        "parameters": sum(size for size, _ in sizes),
        "trainable_parameters": sum(size for size, trained in sizes if trained),
    }


def training_section(cfg: RunConfig, fitted: TrainingResult, runtime: Runtime) -> dict[str, Any]:
    by_epoch = {row["epoch"]: row for row in fitted.history}
    return {
        "method": cfg.name_of("method"),
        "epochs": len(fitted.history),  # fewer than asked for if a collapse ended it
        "steps": fitted.steps,
        "seconds": fitted.seconds,
        "images_per_second": fitted.images / fitted.seconds if fitted.seconds else None,
        "peak_memory_bytes": _peak_memory(runtime.device),
        "selected_by": cfg.training.select,
        "selected_epoch": fitted.selected_epoch,
        "best": by_epoch.get(fitted.selected_epoch),
        "last": fitted.history[-1],
        "skipped_steps": fitted.skipped,
        "collapses": [asdict(collapse) for collapse in fitted.overfitting],
    }


def subset_section(images: Images, plan: EvaluationPlan, splits: Splits) -> dict[str, Any]:
    """Which test images were measured, and the classes of which there was none."""
    available, names = len(splits.test), list(splits.class_names)
    whole = len(images) == available
    counts = torch.bincount(images.labels.cpu(), minlength=splits.classes).tolist()
    return {
        "size": len(images),
        "of": available,
        "chosen": "all" if whole else plan.choose,
        "fingerprint": images.fingerprint(),
        "classes_without_images": [
            name for name, count in zip(names, counts, strict=True) if count == 0
        ],
    }


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def environment(runtime: Runtime) -> dict[str, Any]:
    """Where the numbers were measured."""
    return {
        "robustrun": version("robustrun"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "device": str(runtime.device),
        "device_name": runtime.device_name,
        "threads": runtime.threads,
        "shares": runtime.shares,
        "precision": runtime.precision,
        "compile": runtime.compile,
        "git_commit": _git_commit(),
        "host": socket.gethostname(),
    }


def _git_commit() -> str | None:
    """The commit of the source tree this package runs from; None for an installed wheel."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        said = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
        return said.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def score(right: np.ndarray) -> dict[str, Any]:
    """Accuracy with its count and interval."""
    correct, total = int(right.sum()), len(right)
    return {
        "accuracy": accuracy(right),
        "correct": correct,
        "total": total,
        "ci95": list(wilson(correct, total)),
    }


def detailed(right: np.ndarray, measured: Evaluation) -> dict[str, Any]:
    """A score with each class's accuracy and their mean (balanced accuracy)."""
    classes = per_class(right, measured.labels, measured.classes)
    known = [share for share in classes if share is not None]
    balanced = sum(known) / len(known) if known else 0.0
    return score(right) | {"per_class": classes, "balanced_accuracy": balanced}


def _without_answer(none: np.ndarray) -> dict[str, int]:
    """How many of the wrong are so because the logits were not finite."""
    return {"non_finite": int(none.sum())}


def _attack(result: AttackResult, measured: Evaluation) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": result.name, "attack": result.kind}
    entry |= {"norm": result.norm, "epsilon": result.epsilon}
    entry |= detailed(result.robust, measured) | _without_answer(result.no_answer)
    entry |= {"seconds": result.seconds, "settings": result.settings}
    if result.stages:
        entry["stages"] = [asdict(stage) for stage in result.stages]
    if result.perturbed_right is not None:
        # Noise can turn a wrong answer right; this is the share that is right under it.
        entry["perturbed_accuracy"] = accuracy(result.perturbed_right)
    return entry


def evaluation_block(measured: Evaluation, subset: dict[str, Any]) -> dict[str, Any]:
    """The `evaluation` part of results.json."""
    block = {
        "subset": subset,
        "clean": detailed(measured.clean_right, measured)
        | _without_answer(measured.no_answer)
        | {"seconds": measured.seconds},
        "attacks": [_attack(result, measured) for result in measured.attacks.values()],
        "worst_case": score(measured.worst_case),
        "curve": [{"epsilon": radius} | score(right) for radius, right in measured.curve],
        "audit": [asdict(check) for check in measured.checks],
    }
    for name in ("corruptions", "perturbations"):
        if (result := getattr(measured, name)) is not None:
            block[name] = asdict(result)
    return block
