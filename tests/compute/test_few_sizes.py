"""Batches of a few sizes: the same logits and gradients, and which sizes a network meets."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustrun.compute import accelerators
from robustrun.compute.few_sizes import FewSizes, few_sizes, filled


class Sizes(nn.Module):
    """Remembers how many images it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.seen = nn.Linear(12, 3), set[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add(len(x))
        logits: Tensor = self.linear(x.flatten(1).tanh())
        return logits


class Mixing(nn.Module):
    """An image affects the others."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(dim=0)).flatten(1)[:, :3]


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says whether tensors count as computed on an accelerator."""
    return lambda is_so: monkeypatch.setattr(accelerators, "works_ahead", lambda x: is_so)


def test_of_a_hundred_sizes_a_network_meets_seven() -> None:
    network = Sizes()
    few = FewSizes(network, 100)
    for count in range(1, 101):
        assert len(few(torch.rand(count, 3, 2, 2))) == count
    assert network.seen == {7, 13, 25, 38, 50, 75, 100}
    assert len(few(torch.rand(0, 3, 2, 2))) == 0
    assert len(few(torch.rand(101, 3, 2, 2))) == 101
    assert network.seen >= {0, 101}, "more than the largest, and none, are left as they are"


@pytest.mark.parametrize("count", [1, 5, 7, 8])
def test_logits_and_gradients_are_those_of_the_network(count: int) -> None:
    network = Sizes().double()
    x = torch.rand(count, 3, 2, 2, dtype=torch.float64)
    found = []
    for model in (network, FewSizes(network, 8)):
        point = x.clone().requires_grad_()
        logits = model(point)
        (slope,) = torch.autograd.grad(logits.square().sum(), point)
        found.append((logits.detach(), slope))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)  # float64: sums over other numbers of rows


def test_a_batch_is_filled_with_its_last_image() -> None:
    x = torch.arange(6.0).view(3, 2, 1, 1)
    more = filled(x, 5)
    assert torch.equal(more[:3], x)
    assert torch.equal(more[3:], x[[2, 2]])
    assert filled(x, 3) is x


def test_only_what_works_ahead_and_takes_each_image_alone_is_filled(ahead: Any) -> None:
    x = torch.rand(4, 3, 2, 2)
    network, mixing = Sizes(), Mixing()
    assert few_sizes(network, x, 8) is network
    ahead(True)
    few = few_sizes(network, x, 8)
    assert isinstance(few, FewSizes)
    assert not few.training
    assert few_sizes(mixing, x, 8) is mixing
