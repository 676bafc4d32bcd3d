"""Weights & Biases."""

import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from robustrun.trackers.wandb import WeightsAndBiases, WeightsAndBiasesRun
from trackers.tracked_run import CONFIG, RESULTS, row


def test_wandb_works_without_a_network(folder: Path) -> None:
    pytest.importorskip("wandb", reason="pip install robustrun[wandb]")
    run = WeightsAndBiases("robustrun", None, "offline").start(folder, CONFIG)
    run.epoch(row(1))
    run.finish(RESULTS)
    (kept,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    words = (b"train_loss", b"worst_case", b"model.safetensors")
    for _ in range(300):  # W&B's own process writes the file, and may still be at it
        if all(word in kept.read_bytes() for word in words):
            return
        time.sleep(0.1)
    raise AssertionError(f"{kept} lacks one of {words}")


def started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[WeightsAndBiasesRun, Mock]:
    """A run of a stand-in for the package, which need not be installed."""
    wandb = Mock()
    wandb.Image.side_effect = lambda path: ("image", path)
    wandb.init.return_value.id = "abc"
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return WeightsAndBiases("robustrun", "us", "online").start(folder, CONFIG), wandb


def test_a_run_is_opened_under_its_folders_name_and_the_same_folder_is_the_same_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = started(folder, monkeypatch)[1]
    given = wandb.init.call_args.kwargs
    assert (given["project"], given["entity"], given["mode"]) == ("robustrun", "us", "online")
    assert (given["name"], given["dir"]) == (folder.name, str(folder))
    assert given["config"] == CONFIG
    assert given["resume"] == "allow"
    again = started(folder, monkeypatch)[1].init.call_args.kwargs["id"]
    other = started(folder.parent, monkeypatch)[1].init.call_args.kwargs["id"]
    assert given["id"] == again != other


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("interrupted", 1)])
def test_epochs_accuracies_figures_and_model_are_sent_and_how_the_run_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    run, wandb = started(folder, monkeypatch)
    run.epoch(row(3))
    run.run.log.assert_called_once_with({"epoch/step": 30.0, "epoch/train_loss": 1 / 3}, step=3)
    results = RESULTS | {"run": RESULTS["run"] | {"status": status}}
    run.finish(results)
    run.run.summary.update.assert_called_once_with(
        {"final/seconds": 2.5, "final/clean": 0.75, "final/worst_case": 0.75, "final/pgd": 0.75}
    )
    picture = ("image", str(folder / "figures" / "training.png"))
    assert run.run.log.call_args.args == ({"figures/training": picture},)
    wandb.Artifact.assert_called_once_with("model-abc", type="model")
    files = [call.args[0] for call in wandb.Artifact.return_value.add_file.call_args_list]
    kept = ("model.safetensors", "MODEL_CARD.md", "results.json")
    assert files == [str(folder / name) for name in kept]
    run.run.log_artifact.assert_called_once_with(wandb.Artifact.return_value)
    run.run.finish.assert_called_once_with(exit_code=code)


def test_a_run_is_closed_also_if_its_model_cannot_be_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = started(folder, monkeypatch)
    run.run.log_artifact.side_effect = ConnectionError("no network")
    with pytest.raises(ConnectionError):
        run.finish(RESULTS)
    run.run.finish.assert_called_once()
