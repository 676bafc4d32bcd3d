"""Climbing until the model is fooled: who leaves the batch, and what is kept."""

import copy
import inspect

import pytest
import torch
from compute.digits_network import attack, digits, digits_network
from torch import nn

from attacks.small_networks import tanh_network
from robustrun.attacks.search.climb import Momentum, climb


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return copy.deepcopy(digits_network())


def test_in_float32_what_leaves_the_batch_changes_no_bit(network: nn.Module) -> None:
    """PGD that drops fooled images returns what the plain loop over all images finds."""
    images, epsilon, step_size = digits(), 0.1, 0.02
    x, y = next(images.batches(2000))
    words = ["attack.epsilon=0.1", "attack.steps=10", "attack.restarts=1", "attack.step_size=0.02"]
    fast = attack("attack=pgd", *words)(network, x, y, generator=torch.Generator().manual_seed(0))
    start = torch.empty_like(x).uniform_(
        -epsilon, epsilon, generator=torch.Generator().manual_seed(0)
    )
    point, found = (x + start).clamp(0, 1), torch.zeros(2000, dtype=torch.bool)
    plain = x.clone()
    for step in range(11):
        point.requires_grad_()
        logits = network(point)
        fooled = (logits.argmax(dim=1) != y) & ~found
        plain[fooled], found = point.detach()[fooled], found | fooled
        if step == 10:
            plain[~found] = point.detach()[~found]
            break
        loss = nn.functional.cross_entropy(logits, y, reduction="sum")
        slope = torch.autograd.grad(loss, point)[0]
        moved = point.detach() + step_size * slope.sign()
        point = torch.minimum(torch.maximum(moved, x - epsilon), x + epsilon).clamp(0, 1)
    assert 0.05 < float(found.float().mean()) < 0.95
    verdicts = [network(images).argmax(dim=1) == y for images in (fast, plain)]
    assert torch.equal(*verdicts)
    assert torch.equal(fast, plain)


def test_momentum_adds_gradients_of_the_length_one_and_forgets_by_its_decay() -> None:
    """Of the l1 norm, as Dong et al. have it."""
    velocity = Momentum(torch.zeros(2, 1, 1, 2), 0.5)
    first = velocity.add(torch.tensor([[3.0, -1.0], [0.0, 0.0]]).view(2, 1, 1, 2))
    assert first.flatten().tolist() == [0.75, -0.25, 0.0, 0.0]
    second = velocity.add(torch.tensor([[0.0, 2.0], [1e-8, 0.0]]).view(2, 1, 1, 2))
    torch.testing.assert_close(second.flatten(), torch.tensor([0.375, 0.875, 1.0, 0.0]))
    velocity.keep(torch.tensor([1]))
    assert velocity.add(torch.zeros(1, 1, 1, 2)).flatten().tolist() == [0.5, 0.0]


def test_rows_climb_alike_whoever_leaves_beside_them() -> None:
    model, x, y = tanh_network()
    model, x = model.double(), x.double()
    y = model(x).argmax(dim=1)

    def climbed(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        points, labels = x[rows], y[rows]
        return climb(
            model,
            points,
            labels,
            points,
            lambda logits, left: nn.functional.cross_entropy(logits, labels[left], reduction="sum"),
            norm="l2",
            epsilon=0.2,
            step_size=lambda step: 0.1 / (step + 1),
            steps=6,
            momentum=Momentum(points, 0.9),
        )

    together, fooled = climbed(torch.arange(len(x)))
    assert 0 < int(fooled.sum()) < len(x)
    assert torch.equal(model(together).argmax(dim=1) != y, fooled)
    for row in range(len(x)):
        alone, fell = climbed(torch.tensor([row]))
        assert bool(fell) == bool(fooled[row])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-9)  # order of sums


def test_numbers_are_given_by_their_names() -> None:
    taken = inspect.signature(climb).parameters.values()
    named = [its.name for its in taken if its.kind is its.KEYWORD_ONLY]
    assert named == ["norm", "epsilon", "step_size", "steps", "image", "momentum"]
    assert not any(its.kind is its.POSITIONAL_ONLY for its in taken)
