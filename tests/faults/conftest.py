"""A short run that draws from every part: training, selection, evaluation, figures."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from process import robustrun

SHORT = [
    "method=trades",
    "method.inner.steps=1",
    "model=simple_cnn",
    "training.epochs=3",
    "training.batch_size=200",
    "training.ema_decay=0.9",
    "training.validation_attack.steps=2",
    "attack.steps=3",
    "evaluation.examples=60",
    "evaluation.batch_size=20",
    "device.threads=1",
]


def changed(words: list[str], *others: str) -> list[str]:
    """The words with others in the place of those of the same key."""
    keys = {word.partition("=")[0] for word in others}
    return [*(word for word in words if word.partition("=")[0] not in keys), *others]


TIMES = ("seconds", "images_per_second", "peak_memory_bytes")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the short run leaves if nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    robustrun(folder, *SHORT, "hydra.run.dir=run")
    return folder / "run"


def fingerprint(run: Path) -> dict[str, Any]:
    """All that a run left, but for what tells the time or the place."""
    weights = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    predictions = hashlib.sha256((run / "predictions.npz").read_bytes()).hexdigest()
    with (run / "metrics.csv").open() as file:
        metrics = [timeless(row) for row in csv.DictReader(file)]
    found = json.loads((run / "results.json").read_text())
    about = {"status": found.pop("run")["status"]}
    return timeless(found) | about | {"files": (weights, predictions), "metrics": metrics}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES}
    if isinstance(value, list):
        return [timeless(item) for item in value]
    return value
