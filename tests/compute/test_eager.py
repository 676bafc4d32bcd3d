"""torch's optimizers without their decorators: the same steps, the same state."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from robustrun.compute.eager import eager

SETTINGS: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "foreach": True}),
    (AdamW, {"lr": 1e-2, "betas": (0.9, 0.99), "weight_decay": 1e-2, "foreach": True}),
]


def trained(optimizer: Optimizer, model: nn.Module, steps: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x, y = torch.rand(8, 4, generator=generator), torch.rand(8, 3, generator=generator)
        (model(x) - y).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def made(kind: type[Optimizer], settings: dict[str, Any]) -> tuple[Optimizer, nn.Module]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    return kind(model.parameters(), **settings), model


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_steps_and_state_are_torchs_own(kind: type[Optimizer], settings: dict[str, Any]) -> None:
    (ours, model), (theirs, same) = made(eager(kind), settings), made(kind, settings)
    assert torch.equal(trained(ours, model, 5), trained(theirs, same, 5))
    assert repr(ours.state_dict()) == repr(theirs.state_dict())
    assert not any(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_either_continues_from_the_others_state(
    kind: type[Optimizer], settings: dict[str, Any]
) -> None:
    for first, second in ((kind, eager(kind)), (eager(kind), kind)):
        (before, model), (after, same) = made(first, settings), made(second, settings)
        trained(before, model, 3)
        same.load_state_dict(model.state_dict())
        after.load_state_dict(copy.deepcopy(before.state_dict()))
        assert torch.equal(trained(before, model, 3), trained(after, same, 3))
