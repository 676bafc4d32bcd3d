"""Trackers get all of a run, lose nothing at a kill, and never harm the run."""

import ast
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imsave

from robustrun.command_line.main import run_command_line
from robustrun.errors import ConfigError
from robustrun.trackers.guarded import Guarded
from robustrun.trackers.mlflow import MLflow
from robustrun.trackers.none import NoTracker
from robustrun.trackers.tensorboard import TensorBoard
from robustrun.trackers.wandb import WeightsAndBiases

PACKAGE = Path(__file__).resolve().parents[2] / "robustrun"
SHORT = ["method=standard", "training.epochs=1", "evaluation=none", "evaluation.examples=20"]
CONFIG = {"seed": 3, "method": {"name": "trades", "beta": 6.0}, "radii": [1, 2]}
SCORE = {"accuracy": 0.75}
RESULTS = {
    "run": {"status": "completed", "seconds": 2.5},
    "evaluation": {"clean": SCORE, "worst_case": SCORE, "attacks": [{"name": "pgd", **SCORE}]},
}


def row(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "step": 10 * epoch, "train_loss": 1 / epoch, "train_accuracy": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a run has left when its tracker is told the end."""
    made = tmp_path / "run"
    (made / "figures").mkdir(parents=True)
    imsave(made / "figures" / "training.png", np.zeros((4, 6, 3)))
    for name in ("model.safetensors", "MODEL_CARD.md", "results.json"):
        (made / name).write_text("{}")
    return made


def test_tensorboard_has_every_point_on_disk_before_the_run_ends(folder: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install robustrun[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoard(flush_seconds=3600)
    tracker.start(folder, CONFIG)
    for epoch in range(1, 51):
        tracker.epoch(folder, row(epoch))
    killed = EventAccumulator(str(folder / "tensorboard")).Reload()  # nothing was closed
    assert len(killed.Scalars("epoch/train_loss")) == 50
    assert "epoch/train_accuracy" not in killed.Tags()["scalars"]
    tracker.finish(folder, RESULTS)
    ended = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert ended.Scalars("final/worst_case")[0].value == 0.75
    assert ended.Tags()["images"] == ["training"]
    texts = set(ended.Tags()["tensors"])
    assert texts >= {"config/text_summary", "model/MODEL_CARD.md/text_summary"}


@pytest.mark.filterwarnings("ignore")  # MLflow's own, about its database library
def test_mlflow_has_config_epochs_results_figures_and_model(folder: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install robustrun[mlflow]")
    uri = f"sqlite:///{tmp_path}/store/mlflow.db"
    tracker = MLflow(uri, "robustrun")
    tracker.start(folder, CONFIG)
    for epoch in (1, 2):
        tracker.epoch(folder, row(epoch))
    tracker.start(folder, CONFIG)  # resumed: the same run goes on
    tracker.epoch(folder, row(3))
    tracker.finish(folder, RESULTS)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("robustrun")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.params["method.beta"]) == ("FINISHED", "6.0")
    assert run.data.metrics["final/pgd"] == 0.75
    history = client.get_metric_history(run.info.run_id, "epoch/train_loss")
    assert [point.step for point in history] == [1, 2, 3]
    kept = {
        file.path
        for part in ("model", "figures")
        for file in client.list_artifacts(run.info.run_id, part)
    }
    assert kept >= {"model/model.safetensors", "figures/training.png"}


def test_mlflow_in_a_plain_folder_is_refused_with_what_is_right() -> None:
    with pytest.raises(ConfigError, match="sqlite:///"):
        MLflow("outputs/mlruns", "robustrun")


def test_wandb_works_without_a_network(folder: Path) -> None:
    pytest.importorskip("wandb", reason="pip install robustrun[wandb]")
    tracker = WeightsAndBiases("robustrun", None, "offline")
    tracker.start(folder, CONFIG)
    tracker.epoch(folder, row(1))
    tracker.finish(folder, RESULTS)
    (kept,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    words = (b"train_loss", b"worst_case", b"model.safetensors")
    for _ in range(300):  # W&B's own process writes the file, and may still be at it
        if all(word in kept.read_bytes() for word in words):
            return
        time.sleep(0.1)
    raise AssertionError(f"{kept} lacks one of {words}")


@pytest.mark.parametrize(
    ("tracker", "module"),
    [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow")],
)
def test_a_missing_package_is_named_with_its_extra_before_training(
    tracker: str,
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    words = [*SHORT, f"tracker={tracker}", "hydra.run.dir=run"]
    assert run_command_line(words) == 2
    assert f"pip install 'robustrun[{tracker}]'" in capfd.readouterr().err
    assert not (tmp_path / "run" / "metrics.csv").exists()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["run"]["status"] == "failed"


class Breaks(NoTracker):
    """Takes the start, and fails from then on."""

    def epoch(self, folder: Path, row: dict[str, Any]) -> None:
        raise ConnectionError("the server is gone")

    finish = epoch


def test_a_tracker_that_breaks_while_training_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost: dict[str, str] = {}
    tracker = Guarded(Breaks(), lost)
    tracker.start(tmp_path, CONFIG)
    with caplog.at_level(logging.WARNING):
        for epoch in (1, 2, 3):
            tracker.epoch(tmp_path, row(epoch))
        tracker.finish(tmp_path, RESULTS)
    assert [record.message for record in caplog.records if "the server is gone" in record.message]
    assert len(caplog.records) == 1
    assert "ConnectionError: the server is gone" in lost["tracker"]


def test_a_tracker_that_cannot_start_is_the_users_to_mend(tmp_path: Path) -> None:
    class Refuses(NoTracker):
        def start(self, folder: Path, config: dict[str, Any]) -> None:
            raise PermissionError("not logged in")

    tracker = Guarded(Refuses(), {})
    with pytest.raises(ConfigError, match="not logged in"):
        tracker.start(tmp_path, CONFIG)


def test_no_tracker_is_named_outside_its_folder() -> None:
    names = {"tensorboard", "wandb", "mlflow"}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "trackers":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            words = {node.value} if isinstance(node, ast.Constant) else set()
            if isinstance(node, ast.Import | ast.ImportFrom):
                words = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
            assert not any(name in str(word).split(".") for word in words for name in names), path
