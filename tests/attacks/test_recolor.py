"""ReColorAdv: what its lattice does to colours, and its bound."""

import math

import pytest
import torch
from torch import nn

from attacks.small_attacks import (
    recolor,
)
from attacks.small_networks import (
    tanh_network,
)
from robustrun.attacks.geometry.colour import to_luv
from robustrun.attacks.recolor import recolour
from robustrun.errors import ConfigError


def test_slopes_are_finite_where_an_image_is_black() -> None:
    x = torch.zeros(1, 3, 4, 4)
    changes = torch.zeros(1, 4, 5, 6, 3).uniform_(-0.06, 0.06).requires_grad_()
    (slope,) = torch.autograd.grad(recolour(x, changes).sum(), changes)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(recolour(x, changes)).all()


def test_a_lattice_point_moves_the_colours_in_its_own_cells_only() -> None:
    grid = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0.9, 0.9]])
    x = grid.T.reshape(1, 3, 1, 2)
    lightness = to_luv(x)[0, 0, 0]
    changes = torch.zeros(1, 11, 3, 3, 3)
    below = math.floor(lightness[0].item() * 10)
    changes[:, below, :, :, 0] = 0.05
    found = to_luv(recolour(x, changes))[0, :, 0]
    share = 1 - (lightness[0] * 10 - below)  # linear between the points
    assert found[0, 0].item() == pytest.approx((lightness[0] + 0.05 * share).item(), abs=1e-4)
    torch.testing.assert_close(found[:, 1], to_luv(x)[0, :, 0, 1], atol=1e-4, rtol=0)


def test_the_change_of_colour_never_reaches_further_than_its_bound() -> None:
    model, x, _ = tanh_network()
    x = 0.3 + 0.4 * x  # away from the edge of the gamut, where colours are clamped
    found = recolor(bound=0.01, steps=40)(model, x, model(x).argmax(dim=1))
    assert (to_luv(found) - to_luv(x)).abs().max() <= 0.01 + 1e-4  # powers in float32
    assert (found != x).any()


def test_results_name_the_bound() -> None:
    assert recolor().own_radius == ("cieluv", 0.06)
    assert not recolor().bounded


def test_grey_images_cannot_be_recoloured() -> None:
    with pytest.raises(ConfigError, match=r"colour images, but these have 1 channel\(s\)"):
        recolor()(nn.Flatten(), torch.rand(2, 1, 4, 4), torch.zeros(2, dtype=torch.long))
