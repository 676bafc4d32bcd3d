"""Climbing until the model is fooled: who leaves the batch, and what is kept."""

import copy

import pytest
import torch
from compute.digits_network import attack, digits, digits_network
from torch import nn


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
