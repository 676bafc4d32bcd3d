"""Optimizers: how torch makes their steps on each kind of device, and a state that comes from
another."""

from typing import Any

import pytest
import torch
from torch import nn

from robustrun.training import optimizers
from robustrun.training.optimizers import SGD, AdamW, load_state, together

ALL = [SGD(0.1, 0.9, True, 5e-4), SGD(0.1, 0.0, False, 0.0), AdamW(0.01, (0.9, 0.999), 1e-2)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def stepped(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = torch.linspace(-1, 1, 24).view(4, 6) + 0.1 * step
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


FUSED, FOREACH = {"fused": True}, {"foreach": True}


@pytest.fixture
def of_kind(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds an optimizer as on CUDA (FUSED; torch has these kernels for CPUs, too) or a CPU."""

    def build(asked: Any, model: nn.Module, kind: dict[str, bool]) -> torch.optim.Optimizer:
        monkeypatch.setattr(optimizers, "together", lambda model: kind)
        optimizer: torch.optim.Optimizer = asked.build(model)
        return optimizer

    return build


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for here, there in zip(one.parameters(), other.parameters(), strict=True):
        # float32: a few steps, each rounded in another order
        torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-6)


def test_a_network_on_the_processor_is_stepped_as_before() -> None:
    model = network()
    assert together(model) == FOREACH
    model.requires_grad_(False)
    assert together(model) == FOREACH, "nothing is trained"


def test_a_network_on_cuda_is_stepped_by_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Parameter, "is_cuda", True)
    assert together(network()) == FUSED


@pytest.mark.parametrize("asked", ALL)
def test_one_kernel_makes_the_same_steps(asked: Any, of_kind: Any) -> None:
    plain, fused = network(), network()
    stepped(plain, of_kind(asked, plain, FOREACH), range(5))
    stepped(fused, of_kind(asked, fused, FUSED), range(5))
    assert_same(plain, fused)


@pytest.mark.parametrize("asked", ALL)
@pytest.mark.parametrize("kinds", [(FUSED, FOREACH), (FOREACH, FUSED)])
def test_a_training_continues_on_another_kind_of_device(
    asked: Any, kinds: tuple[dict[str, bool], dict[str, bool]], of_kind: Any
) -> None:
    whole, parts = network(), network()
    stepped(whole, of_kind(asked, whole, FOREACH), range(4))
    first = of_kind(asked, parts, kinds[0])
    stepped(parts, first, range(2))
    second = of_kind(asked, parts, kinds[1])
    load_state(second, first.state_dict())
    (name,) = kinds[1]
    assert second.param_groups[0][name] is True
    assert not second.param_groups[0]["fused" if name == "foreach" else "foreach"]
    stepped(parts, second, range(2, 4))
    assert_same(whole, parts)
