"""Salt-and-pepper noise."""

import pytest
import torch
from torch import nn

from robustrun.attacks.salt_and_pepper import SaltAndPepper
from robustrun.errors import ConfigError


def noise(amount: float = 0.2) -> SaltAndPepper:
    return SaltAndPepper("linf", 0.1, amount)


def test_so_many_pixels_turn_white_or_black_in_all_channels_and_the_others_stay() -> None:
    x, y = torch.full((50, 3, 32, 32), 0.5), torch.zeros(50, dtype=torch.long)
    found = noise()(nn.Identity(), x, y, generator=torch.Generator().manual_seed(0))
    assert set(found.unique().tolist()) == {0.0, 0.5, 1.0}
    assert (found == found[:, :1]).all()
    white, black = (found == 1).float().mean().item(), (found == 0).float().mean().item()
    # 51,200 pixels: five standard deviations of a share of 0.1 are 0.0066.
    assert white == pytest.approx(0.1, abs=0.0066)
    assert black == pytest.approx(0.1, abs=0.0066)


def test_the_generator_decides_and_the_share_is_what_results_name() -> None:
    x, y = torch.rand(2, 1, 8, 8), torch.zeros(2, dtype=torch.long)
    first, again, other = (
        noise()(nn.Identity(), x, y, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(noise(0.0)(nn.Identity(), x, y), x)
    assert set(noise(1.0)(nn.Identity(), x, y).unique().tolist()) == {0.0, 1.0}
    assert noise()(nn.Identity(), x[:0], y[:0]).shape == (0, 1, 8, 8)
    assert noise().own_radius == ("share of pixels", 0.2)
    assert not noise().bounded
    assert not noise().adversarial
    with pytest.raises(ConfigError, match="amount"):
        noise(1.1)
