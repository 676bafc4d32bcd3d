"""Modes, buffers and frozen parameters: set for a while, and as they were afterwards."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import nn

from robustrun.compute.modes import (
    attack_mode,
    eval_mode,
    modes_and_buffers_restored,
    modes_restored,
    statistics_kept,
)

CONTEXTS = [attack_mode, eval_mode, modes_and_buffers_restored, modes_restored]


def network() -> nn.Sequential:
    """In train mode, but for one frozen layer of batch norm."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(), nn.BatchNorm2d(2))
    model.train()
    model[1].eval()
    model[0].bias.requires_grad_(False)
    return model


def state(model: nn.Module) -> tuple[list[bool], list[bool], list[bool]]:
    return (
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [m.track_running_stats for m in model.modules() if isinstance(m, nn.BatchNorm2d)],
    )


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("fails", [False, True])
def test_every_module_gets_its_own_mode_back(
    context: Callable[[nn.Module], AbstractContextManager[None]], fails: bool
) -> None:
    model = network()
    before = state(model)
    try:
        with context(model):
            model.train()
            model[2].eval()
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert state(model) == before


def test_in_eval_mode_all_layers_are() -> None:
    model = network()
    with eval_mode(model):
        assert not any(m.training for m in model.modules())


@pytest.mark.parametrize(
    ("mode", "training", "updated"),
    [("eval", False, False), ("train", True, True), ("train_frozen", True, False)],
)
def test_an_attack_freezes_parameters_and_chooses_what_batch_norm_does(
    mode: str, training: bool, updated: bool
) -> None:
    model = network()
    before, mean = state(model), model[3].running_mean.clone()
    with torch.no_grad(), attack_mode(model, mode):  # type: ignore[arg-type]
        assert [m.training for m in model.modules()] == [training] * 5
        assert not any(p.requires_grad for p in model.parameters())
        assert torch.is_grad_enabled()
        model(torch.rand(8, 1, 3, 3))
    assert state(model) == before
    assert (not torch.equal(model[3].running_mean, mean)) == updated


def test_buffers_are_restored_in_place() -> None:
    model = network().train()
    buffer = model[3].running_mean
    before = buffer.clone()
    with modes_and_buffers_restored(model):
        model(torch.rand(8, 1, 3, 3))
        assert not torch.equal(buffer, before)
    assert model[3].running_mean is buffer
    assert torch.equal(buffer, before)


def test_statistics_are_kept_while_the_batchs_are_used() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(1)).train()
    x = 5 + torch.rand(8, 1, 3, 3)
    with statistics_kept(model):
        normalised = model(x)
    assert normalised.mean().abs() < 1e-5  # of the batch, to rounding
    assert torch.equal(model[0].running_mean, torch.zeros(1))
    model(x)
    assert not torch.equal(model[0].running_mean, torch.zeros(1))
