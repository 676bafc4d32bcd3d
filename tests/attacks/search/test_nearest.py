"""The nearest image that fools the model, and its confirmation."""

import math

import pytest
import torch
from torch import nn

from attacks.linear_networks import linear, solved
from attacks.small_attacks import fmn
from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.search.nearest import Nearest, nearest_of_all


def test_a_verdict_that_the_last_look_takes_back_moves_the_image_a_little_further() -> None:
    model, x, y = linear()
    nearest = Nearest.of(x, "l2")
    images, away = fmn(norm="l2").minimal_distances(model, x, y)
    at_boundary = x + (images - x) * (solved(model, x, y, "l2") * 0.9995 / away)[
        :, None, None, None
    ].to(x.dtype)
    nearest.image, nearest.distance = at_boundary, distance(at_boundary, x, "l2")
    assert (model(at_boundary).argmax(dim=1) == y).all()
    images, further = nearest.confirmed(model, y)
    assert (model(images).argmax(dim=1) != y).all()
    assert (further <= nearest.distance * 1.0101).all()
    assert (further > nearest.distance).all()


@pytest.mark.parametrize(
    ("short", "factor"), [(0.0, 1.0), (0.0005, 1.001), (0.005, 1.01), (0.05, 1.1), (0.2, math.inf)]
)
def test_an_image_moves_no_further_than_it_has_to(short: float, factor: float) -> None:
    model, x, y = linear()
    nearest, boundary = Nearest.of(x, "l2"), solved(model, x, y, "l2").double()
    slope = torch.autograd.grad(model(x.requires_grad_())[:, 1].sum(), x)[0]
    slope -= torch.autograd.grad(model(x)[:, 0].sum(), x)[0]
    x = x.detach()
    unit = slope / slope.flatten(1).norm(dim=1)[:, None, None, None]
    unit = torch.where((y == 0)[:, None, None, None], unit, -unit)
    away = boundary * (1.0001 - short)
    nearest.x, nearest.image = x, x + away[:, None, None, None].float() * unit
    nearest.distance = away
    _, found = nearest.confirmed(model, y)
    torch.testing.assert_close(found, away * factor, rtol=1e-5, atol=0)  # float32 images


def constant(answer: int) -> nn.Module:
    """Always the same answer."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.eye(2)[answer])
    return model


def test_the_nearest_of_what_was_offered_is_kept() -> None:
    x = torch.full((3, 1, 1, 1), 0.5)
    nearest = Nearest.of(x, "linf")
    for point, fooled in (
        (0.9, [True, True, False]),
        (0.7, [True, False, False]),
        (0.8, [True] * 3),
    ):
        nearest.offer(torch.arange(3), torch.full((3, 1, 1, 1), point), torch.tensor(fooled))
    torch.testing.assert_close(nearest.image.flatten(), torch.tensor([0.7, 0.8, 0.8]))
    assert nearest.distance.tolist() == pytest.approx([0.2, 0.3, 0.3], abs=1e-7)
    inside = nearest.within(0.25).flatten()
    torch.testing.assert_close(inside, torch.tensor([0.7, 0.75, 0.75]))


def test_a_verdict_that_cannot_be_had_again_counts_as_never_found() -> None:
    x, y = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
    nearest = Nearest.of(x, "linf")
    nearest.offer(torch.arange(2), x + 0.1, torch.tensor([True, True]))
    images, away = nearest.confirmed(constant(0), y)  # the first is right again wherever it goes
    assert away.tolist() == [math.inf, pytest.approx(0.1, abs=1e-7)]
    assert torch.equal(images[1], (x + 0.1)[1])


@pytest.mark.parametrize("count", [0, 3])
def test_where_every_image_is_wrong_already_nothing_is_searched(count: int) -> None:
    def search(*_: object) -> Nearest:
        raise AssertionError("searched")

    x = torch.rand(count, 1, 2, 2)
    images, away = nearest_of_all(search, constant(0), x, torch.ones(count, dtype=torch.long))
    assert torch.equal(images, x)
    assert away.tolist() == [0.0] * count
