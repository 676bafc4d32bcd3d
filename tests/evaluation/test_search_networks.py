"""Which network an attack searches with."""

import copy

import pytest
import torch
from compute.digits_network import attack, digits, digits_network
from torch import nn

from evaluation.grey_images import CPU
from robustrun.compute.search_copy import FoldedCopy
from robustrun.evaluation.search_networks import SearchNetworks, search_networks
from robustrun.evaluation.setting import Setting


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return copy.deepcopy(digits_network())


def test_which_network_an_attack_sees(network: nn.Module) -> None:
    plain = search_networks(network, digits(), Setting(0, 100, CPU))
    fast = search_networks(network, digits(), Setting(0, 100, CPU, "bfloat16"))
    folded = search_networks(network, digits(), Setting(0, 100, CPU, search_copy=True))
    pgd, fab, noise = attack(), attack("attack=fab_t"), attack("attack=gaussian_noise")
    assert plain == SearchNetworks(network, network)
    assert plain.of(pgd) is network
    assert fast.of(noise) is network
    assert isinstance(fast.fast, FoldedCopy)
    assert fast.of(fab) is fast.fast
    assert getattr(fast.of(pgd), "low") is True  # noqa: B009
    assert folded.of(pgd) is folded.of(fab) is folded.fast
    assert getattr(folded.fast, "low") is False  # noqa: B009


def test_without_an_image_there_is_nothing_to_try_a_copy_on(network: nn.Module) -> None:
    none = digits().subset(torch.arange(0))
    found = search_networks(network, none, Setting(0, 100, CPU, "bfloat16"))
    assert found == SearchNetworks(network, network)
