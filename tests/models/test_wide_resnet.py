"""Wide ResNets compute the paper's formulas, in any depth and width."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.networks import preact, set_at_random, sizes, sketched, wide
from robustrun.errors import ConfigError
from robustrun.models.wide_resnet import WideResNetNetwork


def test_wide_resnet_computes_the_papers_formulas_and_ends_in_batch_norm() -> None:
    normalize = nn.Identity()
    network = WideResNetNetwork(normalize, 1, 10, wide(16, 10)).eval()  # type: ignore[arg-type]
    set_at_random(network)
    x = torch.rand(2, 1, 4, 4)
    last = preact(network.stages, F.conv2d(x, network.conv1.weight, padding=1))
    pooled = network.bn(last).clamp_min(0).flatten(2).mean(dim=2)
    # Two blocks a stage of up to 640 channels: longer sums than the others'.
    torch.testing.assert_close(network(x), network.linear(pooled), rtol=1e-3, atol=1e-4)


def test_wide_resnet_drops_activations_in_training_alone() -> None:
    normalize = nn.Identity()
    network = WideResNetNetwork(normalize, 1, 10, wide(10, 10, dropout=0.5))  # type: ignore[arg-type]
    x = torch.rand(2, 1, 8, 8)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_wide_resnet_comes_in_any_depth_and_width_but_a_name_keeps_its_own() -> None:
    # Summed by hand over convolutions, batch norms and the linear layer.
    assert sum(sizes(sketched(wide(10, 1)))) == 77_850
    with pytest.raises(ConfigError, match="depth is 12"):
        wide(12, 1)
    with pytest.raises(ConfigError, match=r"\(28, 10\) by its name"):
        wide(10, 1, name="wide_resnet28_10")
