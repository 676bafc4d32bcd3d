"""device.compile=auto: measured, told, and decided by the length of the training."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustrun import experiment
from robustrun.configuration import composition
from robustrun.configuration.run_config import load_config
from robustrun.datasets.tensors import TensorImages
from robustrun.training import compile_choice
from robustrun.training.settings import TrainingPlan
from robustrun.types import Runtime

CPU = torch.device("cpu")
IMAGES = TensorImages(torch.rand(8, 3, 4, 4), torch.arange(8) % 4)
COUNTS = torch.full((4,), 2)


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 4)
    ).train()


def pays(network: nn.Module, *words: str, method: str = "pgd_at") -> bool:
    """What is decided for a training of 2 steps an epoch."""
    given = [f"method={method}", "training.batch_size=4", "attack.epsilon=0.1", *words]
    run = load_config(composition.compose_config(given))
    runtime = Runtime(CPU, "test", 1, 1, "float32", "auto", torch.contiguous_format)
    plan = TrainingPlan(run.training, run.optimizer, run.schedule, runtime, run.seed)
    return compile_choice.pays(network, run.method, IMAGES, COUNTS, plan)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 20 ms, that becomes one of 10 ms after 5 s of compiling."""
    plain, compiled = [0.5, 0.02, 0.02, 0.03], [5.01, 0.01, 0.01, 0.01]
    answers: Iterator[float] = iter([*plain, *compiled])
    monkeypatch.setattr(compile_choice, "_seconds_of_step", lambda *_: next(answers))
    monkeypatch.setattr(nn.Module, "compile", lambda self: None)


def test_compiling_breaks_even_once_the_steps_have_saved_what_it_took() -> None:
    assert compile_choice.break_even(plain=0.02, fast=0.01, compiling=5.0) == pytest.approx(500)
    assert compile_choice.break_even(plain=0.01, fast=0.01, compiling=5.0) == float("inf")


@pytest.mark.usefixtures("timed")
def test_a_long_training_is_compiled_and_the_log_says_why(
    network: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert pays(network, "training.epochs=2000")
    assert "4,000 steps of 20 ms; compiled 10 ms, and 5 s to compile" in caplog.text
    assert "breaks even after 500 steps: compiled" in caplog.text


@pytest.mark.usefixtures("timed")
def test_what_does_not_break_even_is_not_compiled(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(compile_choice, "SHORTEST", 0.0)
    assert not pays(network, "training.epochs=240")
    assert "breaks even after 500 steps: not compiled" in caplog.text


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize(("seconds", "compiled"), [(9.0, False), (11.0, True)])  # 20 ms, 500 steps
def test_a_time_limit_ends_a_training_before_compiling_breaks_even(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch, seconds: float, compiled: bool
) -> None:
    monkeypatch.setattr(compile_choice, "SHORTEST", 0.0)
    limit = f"training.seconds={seconds}"
    assert pays(network, "training.epochs=2000", limit) == compiled


@pytest.mark.parametrize(
    ("method", "words", "passes"),
    [
        ("pgd_at", ("method.inner.steps=3",), 5),  # attack, loss, clean pass
        ("pgd_at", ("method.inner.steps=3", "training.weight_perturbation=0.01"), 6),
        (  # which begins in the course of the run
            "pgd_at",
            (
                "method.inner.steps=3",
                "training.weight_perturbation=0.01",
                "training.weight_perturbation_warmup=0.5",
            ),
            6,
        ),
        ("fast_at", (), 2),
        ("free_at", ("method.replays=4",), 4),
        ("standard", (), 1),
    ],
)
def test_a_real_step_of_the_method_is_timed(
    network: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    words: tuple[str, ...],
    passes: int,
) -> None:
    """Each pass of the network that a step makes, whichever way the method is built."""
    seen = []
    timed = compile_choice._seconds_of_step

    def counted(learner: Any, *rest: Any) -> float:
        before = learner.model[0].calls
        seconds = timed(learner, *rest)
        seen.append(learner.model[0].calls - before)
        return seconds

    class Counted(nn.Conv2d):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return super().forward(x)

    monkeypatch.setattr(compile_choice, "_seconds_of_step", counted)
    network[0] = Counted(3, 4, 3)
    pays(network, *words, method=method)
    assert seen == [passes] * (1 + compile_choice.TIMED)


def test_a_short_training_is_not_even_tried(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_(self: nn.Module) -> None:
        raise AssertionError("compiled all the same")

    monkeypatch.setattr(nn.Module, "compile", compile_)
    assert not pays(network, "training.epochs=2")


def test_where_compiling_fails_the_network_stays_as_it_is(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile_(self: nn.Module) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compile_choice, "SHORTEST", 0.0)
    monkeypatch.setattr(nn.Module, "compile", compile_)
    assert not pays(network, "training.epochs=2")
    assert "compiling failed: no compiler here" in caplog.text


def test_measuring_leaves_the_network_and_the_random_numbers_alone(network: nn.Module) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    pays(network, "training.epochs=2")
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(module.training for module in network.modules())


def test_a_run_records_what_was_decided(tmp_path: Path) -> None:
    words = ["device.compile=auto", "training.epochs=1", "evaluation=none", "device.threads=1"]
    words += ["keep.figures=false"]
    run = load_config(composition.compose_config(words))
    assert run.device.compile == "auto"  # type: ignore[attr-defined]
    found = experiment.run(run, tmp_path).results
    assert found["environment"]["compile"] is False
