"""Whole runs on the device that `--device` names: precision, compiling, going on, the record."""

from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from robustrun import experiment
from robustrun.command_line.main import run_command_line
from robustrun.configuration import composition
from robustrun.configuration.run_config import load_config
from robustrun.run_folder.schema import read_record

pytestmark = pytest.mark.device
SHORT = ["training.epochs=2", "training.batch_size=32", "attack.steps=3", "keep.figures=false"]
SHORT += ["evaluation.examples=60", "device.threads=1"]


@pytest.fixture
def quickly_compiled(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, where compiling takes minutes, networks are traced as for that, and then run as
    they are."""
    if device.type == "cpu":
        traced = partialmethod(nn.Module.compile, backend="eager")
        monkeypatch.setattr(nn.Module, "compile", traced)


def run(folder: Path, device: torch.device, *words: str) -> dict[str, Any]:
    given = [f"device={device.type}", *words]
    return experiment.run(load_config(composition.compose_config(given)), folder).results


@pytest.mark.parametrize(
    ("method", "precision"),
    [("trades", "float32"), ("trades", "bfloat16"), ("pgd_at", "bfloat16"), ("fast_at", "float32")],
)
def test_a_run_is_trained_and_measured_where_it_was_told_to_be(
    tmp_path: Path, device: torch.device, method: str, precision: str
) -> None:
    inner = [] if method == "fast_at" else ["method.inner.steps=2"]
    words = [*SHORT, f"method={method}", f"device.precision={precision}", *inner]
    found = run(tmp_path, device, *words)
    environment, measured = found["environment"], found["evaluation"]
    assert (environment["device"], environment["precision"]) == (device.type, precision)
    assert measured["clean"]["accuracy"] > 0.2, "of ten classes, after two epochs"
    assert measured["worst_case"]["accuracy"] <= measured["clean"]["accuracy"]


@pytest.mark.usefixtures("quickly_compiled")
def test_a_compiled_training_goes_as_one_that_is_not(tmp_path: Path, device: torch.device) -> None:
    words = [word for word in SHORT if "batch_size" not in word] + ["evaluation=none"]
    words += ["method=pgd_at", "method.inner.steps=1", "training.validation_fraction=0"]
    words += ["training.batch_size=479"]  # a third of the images: one size to compile for
    losses = []
    for compiled in (False, True):
        words_now = [*words, f"device.compile={compiled}"]
        found = run(tmp_path / str(compiled), device, *words_now)
        assert found["environment"]["compile"] is compiled
        losses.append(found["training"]["last"]["train_loss"])
    # Rounding turns the sign of slopes near zero, and steps follow
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize(("asked", "is_compiled"), [("true", True), ("auto", False)])
def test_a_finished_run_is_measured_with_its_network_compiled_if_that_is_asked_for(
    tmp_path: Path,
    device: torch.device,
    asked: str,
    is_compiled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*SHORT, "method=standard", "evaluation=none", "training.epochs=1"]
    run(tmp_path / "run", device, *words[1:])
    assert run_command_line(["evaluate", "run", f"device.compile={asked}"]) == 0
    (again,) = tmp_path.glob("outputs/*/*")
    found = read_record(again).results
    assert found["environment"]["compile"] is is_compiled
    before = read_record(tmp_path / "run").results["evaluation"]
    assert found["evaluation"]["worst_case"] == before["worst_case"]


def test_a_run_goes_on_where_it_was_stopped(
    tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*SHORT, "method=pgd_at", "method.inner.steps=2", "evaluation=none"]
    words += ["training.ema_decay=0.9", "schedule=onecycle"]
    whole = run(tmp_path / "whole", device, *words)["training"]
    logged = experiment._log_epoch

    def stopped(row: Any, epochs: int) -> None:
        logged(row, epochs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "_log_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", device, *words)
    again = run(tmp_path / "stopped", device, *words)["training"]
    assert again["steps"] == whole["steps"]
    # A GPU adds up in another order each time
    rounding = 0.0 if device.type == "cpu" else 0.02
    assert again["last"]["train_loss"] == pytest.approx(whole["last"]["train_loss"], rel=rounding)


def pictures(folder: Path, count: int) -> None:
    """So many training and test images of each of two classes: dark and light noise."""
    noise = torch.Generator().manual_seed(0)
    for part in ("train", "test"):
        for name, level in (("dark", 60), ("light", 190)):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = level + torch.randint(-50, 50, (8, 8, 3), generator=noise)
                image = Image.fromarray(pixels.to(torch.uint8).numpy())
                image.save(folder / part / name / f"{number}.png")


@pytest.mark.usefixtures("quickly_compiled")
def test_the_record_trains_for_its_time_and_keeps_the_last_average(
    tmp_path: Path, device: torch.device
) -> None:
    pictures(tmp_path / "images", 16)
    words = [
        "+experiment=record",
        "model=small_cnn",
        "dataset=image_folder",
        f"dataset.root={tmp_path}/images",
    ]
    words += ["training.batch_size=16", "training.seconds=20", "recipe.epochs=2"]
    words += ["evaluation=none", "attack.steps=1", "device.threads=1", "keep.figures=false"]
    found = run(tmp_path / "run", device, *words)
    training = found["training"]
    assert 1 <= training["fitted_epochs"] == training["epochs"] <= 2
    assert training["steps"] == 2 * training["epochs"]
    assert training["seconds"] < 20
    assert (training["selected_by"], training["selected_epoch"]) == ("last", training["epochs"])
    assert found["environment"]["compile"] is True
    assert found["environment"]["precision"] == "bfloat16"
