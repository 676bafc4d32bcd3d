"""ResNets compute the papers' formulas."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.networks import DIGITS, ROUNDING, built, preact, set_at_random


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_are_torchvisions_but_for_the_first_layers(name: str) -> None:
    from torchvision import models

    network, x = built(name, (3, 8, 8)), torch.rand(2, 3, 8, 8)
    set_at_random(network)
    reference = models.get_model(name, num_classes=10)
    reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    reference.maxpool = nn.Identity()
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    mine, theirs = ([m for m in n.modules() if isinstance(m, kinds)] for n in (network, reference))
    for from_layer, to_layer in zip(mine, theirs, strict=True):
        to_layer.load_state_dict(from_layer.state_dict())
    torch.testing.assert_close(network(x), reference.eval()(x), **ROUNDING)


def test_preact_resnet_computes_the_papers_formulas_and_ends_in_batch_norm() -> None:
    network, x = built("preact_resnet18", DIGITS), torch.rand(2, *DIGITS)
    set_at_random(network)
    last = preact(network.stages, F.conv2d(x, network.first.weight, padding=1))
    pooled = network.end[0](last).clamp_min(0).flatten(2).mean(dim=2)
    torch.testing.assert_close(network(x), network.linear(pooled), **ROUNDING)
