"""device.compile=auto: measured, told, and decided by the length of the training."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from robustrun import experiment
from robustrun.configuration import composition
from robustrun.configuration.run_config import load_config
from robustrun.training import compile_choice


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 10))


IMAGES = torch.full((4, 3, 4, 4), 0.5)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass of 20 ms that compiling, in no time, makes a pass of 10 ms."""
    answers: Iterator[float] = iter([0.02, 0.01])
    monkeypatch.setattr(compile_choice, "_seconds", lambda *_: next(answers))
    monkeypatch.setattr(nn.Module, "compile", lambda self: None)


def test_compiling_breaks_even_once_the_passes_have_saved_what_it_took() -> None:
    needed = compile_choice.break_even(plain=0.02, fast=0.01, compiling=5.0)
    assert needed == pytest.approx(compile_choice.GRAPHS * 5.0 / 0.01)
    assert compile_choice.break_even(plain=0.01, fast=0.01, compiling=5.0) == float("inf")


@pytest.mark.usefixtures("timed")
def test_a_long_training_is_compiled_and_the_log_says_why(
    network: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert compile_choice.pays(network, IMAGES, passes=1_000_000, low=False)
    assert "1,000,000 passes of 20 ms; compiled 10 ms" in caplog.text
    assert "breaks even after" in caplog.text


@pytest.mark.usefixtures("timed")
def test_what_does_not_break_even_is_not_compiled(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(compile_choice, "break_even", lambda *_: 4000.0)
    assert not compile_choice.pays(network, IMAGES, passes=3500, low=False)
    assert "breaks even after 4,000 passes: not compiled" in caplog.text


def test_a_short_training_is_not_even_tried(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_(self: nn.Module) -> None:
        raise AssertionError("compiled all the same")

    monkeypatch.setattr(nn.Module, "compile", compile_)
    assert not compile_choice.pays(network, IMAGES, passes=10, low=False)


def test_where_compiling_fails_the_network_stays_as_it_is(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile_(self: nn.Module) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compile_choice, "SHORTEST", 0.0)
    monkeypatch.setattr(nn.Module, "compile", compile_)
    assert not compile_choice.pays(network, IMAGES, passes=10, low=True)
    assert "compiling failed: no compiler here" in caplog.text


def test_measuring_leaves_the_network_and_the_random_numbers_alone(network: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), *network[:1], nn.Linear(16, 10))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    compile_choice.pays(network, IMAGES, passes=10, low=False)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(module.training for module in network.modules())


def test_a_run_records_what_was_decided(tmp_path: Path) -> None:
    words = ["device.compile=auto", "training.epochs=1", "evaluation=none", "device.threads=1"]
    run = load_config(composition.compose_config(words))
    assert run.device.compile == "auto"  # type: ignore[attr-defined]
    found = experiment.run(run, tmp_path).results
    assert found["environment"]["compile"] is False
