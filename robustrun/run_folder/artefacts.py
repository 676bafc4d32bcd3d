"""The files of a run beside its results: metrics.csv, predictions.npz, weights."""

import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor

from robustrun.evaluation.outcome import Evaluation
from robustrun.run_folder.folder import RESULTS, WEIGHTS
from robustrun.run_folder.schema import RunRecord, RunSection
from robustrun.storage.files import write_atomically, write_csv, write_json
from robustrun.training.metrics import EpochMetrics
from robustrun.training.state import TrainingResult


def write_metrics(path: Path, history: list[EpochMetrics]) -> None:
    """metrics.csv, one row per epoch."""
    write_csv(path, [column.name for column in fields(EpochMetrics)], map(asdict, history))


def write_selected_weights(folder: Path, result: TrainingResult, about: dict[str, object]) -> None:
    """model.safetensors, and last.safetensors where the weights that were kept are others."""
    write_weights(folder / WEIGHTS, result.best, about)
    if result.selected_epoch != len(result.history):
        write_weights(folder / "last.safetensors", result.last, about)


def write_weights(path: Path, state: dict[str, Tensor], about: dict[str, object]) -> None:
    """Weights as safetensors; `about` goes into the file's header."""
    tensors = {name: value.contiguous() for name, value in state.items()}
    header = {"robustrun": json.dumps(about)}  # one entry: safetensors keeps no order of several
    write_atomically(path, safetensors.torch.save(tensors, header))


def write_predictions(path: Path, measured: Evaluation, indices: np.ndarray) -> None:
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


def write_certificates(path: Path, measured: Evaluation, indices: np.ndarray) -> None:
    """certificates.csv: per image that was certified its place in the test set, its label, the
    smoothed classifier's answer (-1: it abstains), and the l2 radius in pixel units within which
    it gives no other."""
    if (found := measured.certificates) is None:
        return
    columns = indices[found.places], measured.labels[found.places], found.answers, found.radii
    header = ["index", "label", "answer", "radius"]
    lines = zip(*(column.tolist() for column in columns), strict=True)
    write_csv(path, header, (dict(zip(header, line, strict=True)) for line in lines))


def write_refusal(folder: Path, raw: Any, error: str) -> None:
    """results.json of a run whose configuration was refused before any work started."""
    run = RunSection(id=folder.name, status="failed", error=error, seconds=0.0)
    write_json(folder / RESULTS, RunRecord(run=run, config=raw).to_json())
