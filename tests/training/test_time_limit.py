"""training.seconds: how many epochs fit is measured, recorded, and kept by a run that continues."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from robustrun import experiment
from robustrun.configuration import composition
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import ConfigError
from robustrun.training import time_limit
from robustrun.training.settings import TrainingPlan
from robustrun.types import Runtime
from tests.short_run import SHORT

CPU = torch.device("cpu")
IMAGES = TensorImages(torch.rand(10, 3, 4, 4), torch.arange(10) % 4)
COUNTS = torch.tensor([3, 3, 2, 2])


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 4))


def planned(*words: str) -> tuple[RunConfig, TrainingPlan]:
    """A training whose epochs have three steps."""
    given = ["attack.epsilon=0.1", "training.batch_size=4", *words]
    run = load_config(composition.compose_config(given))
    runtime = Runtime(CPU, "test", 1, 1, "float32", False, torch.contiguous_format)
    return run, TrainingPlan(run.training, run.optimizer, run.schedule, runtime, run.seed)


def fitting(network: nn.Module, *words: str) -> int:
    """The epochs that fit."""
    run, plan = planned(*words)
    return time_limit.epochs_that_fit(network, run.method, IMAGES, COUNTS, plan)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Steps of 20 ms, but for the first ones, which take 9 s to set up; what was measured."""
    asked: list[tuple[int, int]] = []

    def seconds(*given: Any) -> float:
        asked.append(given[-2:])
        return 9.0 if len(asked) == 1 else 0.02 * given[-1]

    monkeypatch.setattr(time_limit, "_timed", seconds)
    return asked


@pytest.mark.parametrize(
    ("seconds", "epochs"),
    [(0.07, 1), (0.6, 9), (1.2, 19), (6, 98), (6.2, 100), (600, 100)],  # 0.06 s each, 2% to spare
)
def test_as_many_whole_epochs_are_done_as_fit_and_never_more_than_asked_for(
    network: nn.Module, timed: list[tuple[int, int]], seconds: float, epochs: int
) -> None:
    assert fitting(network, f"training.seconds={seconds}", "training.epochs=100") == epochs


def test_what_has_to_be_set_up_first_is_not_measured_nor_is_more_than_an_epoch(
    network: nn.Module, timed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limit, "FEW", 2)
    fitting(network, "training.seconds=2.5")  # 2% are 2.5 steps
    fitting(network, "training.seconds=1000")
    first = [(1, 2), (0, 2)]  # the last steps, with the smaller batch, before all else
    assert timed == [*first, *first, (0, 3)]


def test_what_the_first_steps_take_beside_their_own_time_is_told_apart(
    network: nn.Module, timed: list[tuple[int, int]]
) -> None:
    run, plan = planned()
    pace = time_limit.measured_pace(network, run.method, IMAGES, COUNTS, plan, 1.0)
    assert (pace.steps, pace.step) == (3, pytest.approx(0.02))
    assert pace.set_up == pytest.approx(9 - 3 * 0.02)
    assert pace.epoch == pytest.approx(0.06)


@pytest.mark.usefixtures("timed")
def test_the_log_says_what_was_found_and_how_to_do_the_same_again(
    network: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fitting(network, "training.seconds=1.2", "training.epochs=100")
    assert "an epoch takes 0.06 s here (3 steps of 20 ms), so that 19 of at most 100" in caplog.text
    assert "the same again is training.seconds=null training.epochs=19" in caplog.text


@pytest.mark.usefixtures("timed")
def test_a_limit_that_no_epoch_keeps_is_refused_with_what_one_takes(network: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"seconds is 0\.05, but one epoch takes 0\.06 s here"):
        fitting(network, "training.seconds=0.05")


@pytest.mark.parametrize("seconds", ["0", "-1"])
def test_a_limit_is_a_number_above_nothing(seconds: str) -> None:
    with pytest.raises(ConfigError, match=r"training\.seconds.*above 0, or null"):
        load_config(composition.compose_config([f"training.seconds={seconds}"]))


@pytest.mark.parametrize(
    "words",
    [
        ("method=trades",),
        ("method=free_at",),
        ("method=pgd_at", "training.weight_perturbation=0.01", "training.ema_decay=0.9"),
    ],
)
def test_measuring_leaves_the_network_and_the_random_numbers_alone(
    network: nn.Module, words: tuple[str, ...]
) -> None:
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert fitting(network, "training.seconds=30", "training.epochs=3", *words) == 3
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert [module.training for module in network.modules()] == [True, True, False, True, True]


WORDS = [word for word in SHORT if not word.startswith(("training.epochs", "method"))]
WORDS += ["method=trades", "method.inner.steps=2"]
LIMIT = ("training.epochs=9", "training.seconds=1.5")


@pytest.fixture
def three_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes so long that three epochs of six steps fit."""
    monkeypatch.setattr(time_limit, "_timed", lambda *given: 0.08 * given[-1])


def run(folder: Path, *words: str) -> dict[str, Any]:
    config = load_config(composition.compose_config([*WORDS, *words]))
    return experiment.run(config, folder).results


@pytest.mark.usefixtures("three_fit")
def test_the_run_is_the_one_with_so_many_epochs_bit_by_bit(tmp_path: Path) -> None:
    limited = run(tmp_path / "limited", *LIMIT)["training"]
    assert (limited["fitted_epochs"], limited["epochs"]) == (3, 3)
    asked = run(tmp_path / "asked", "training.epochs=3")["training"]
    assert (asked["fitted_epochs"], asked["last"]["train_loss"]) == (
        None,
        limited["last"]["train_loss"],
    )
    mine, theirs = (
        load_file(tmp_path / name / "model.safetensors") for name in ("limited", "asked")
    )
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


@pytest.mark.usefixtures("three_fit")
def test_a_run_that_continues_keeps_the_number_whatever_the_machine_does_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = experiment._log_epoch

    def killed(row: Any, epochs: int) -> None:
        logged(row, epochs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "_log_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, *LIMIT)
    monkeypatch.setattr(time_limit, "_timed", lambda *given: 0.01)
    found = run(tmp_path, *LIMIT)["training"]
    assert (found["fitted_epochs"], found["epochs"]) == (3, 3)
