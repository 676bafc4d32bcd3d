"""The files of a run beside its results: metrics.csv, predictions.npz, weights."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor

from robustrun.evaluation.outcome import Evaluation
from robustrun.run_folder.schema import METRICS, SCHEMA_VERSION
from robustrun.storage.files import write_atomically, write_csv, write_json


def write_metrics(path: Path, history: list[dict[str, Any]]) -> None:
    """metrics.csv, one row per epoch."""
    write_csv(path, list(METRICS), history)


def write_weights(path: Path, state: dict[str, Tensor], about: dict[str, Any]) -> None:
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


def write_refusal(folder: Path, raw: Any, error: str) -> None:
    """results.json of a run whose configuration was refused before any work started."""
    about = {"id": folder.name, "status": "failed", "error": error, "seconds": 0.0}
    write_json(
        folder / "results.json", {"schema_version": SCHEMA_VERSION, "run": about, "config": raw}
    )
