"""Balls of images: distances, projections and starts; the same attack at another radius."""

from dataclasses import asdict

import pytest
import torch

from attacks.small_attacks import from_catalogue
from attacks.small_networks import (
    EPSILON,
    SHAPE,
    generator,
)
from robustrun.attacks.geometry.ball import around, length, project, steepest, uniform_start


def test_l1_geometry_of_the_other_functions() -> None:
    slope = torch.randn(3, *SHAPE, generator=generator())
    step = steepest(slope, "l1")
    assert torch.equal((step != 0).flatten(1).sum(dim=1), torch.ones(3, dtype=torch.long))
    assert torch.equal((step * slope).flatten(1).sum(1), slope.abs().flatten(1).amax(1))
    x = torch.full((50, *SHAPE), 0.5)
    start = uniform_start(x, "l1", 2.0, generator())
    sizes = length(start - x, "l1").flatten()
    assert sizes.max() <= 2.0 + 1e-5
    assert sizes.max() - sizes.min() > 1.0, "points of the ball, not of its surface"
    assert steepest(torch.zeros(0, *SHAPE), "l1").shape == (0, *SHAPE)


WITH_STEP = [("pgd", "linf"), ("mi_fgsm", "l2"), ("multi_targeted", "linf"), ("apgd_ce", "l1")]
WITHOUT = [("fgsm", "linf"), ("fab", "l2"), ("fmn", "linf"), ("cw_l2", "l2"), ("square", "l1")]


@pytest.mark.parametrize(("name", "norm"), WITH_STEP + WITHOUT)
@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_at_another_radius_a_step_keeps_its_share_of_it(name: str, norm: str, share: float) -> None:
    attack = from_catalogue(name, norm)
    other = attack.with_radius(share * EPSILON[norm])
    changed = {"epsilon": share * EPSILON[norm]}
    if (name, norm) in WITH_STEP:
        changed["step_size"] = pytest.approx(share * attack.step_size)
    assert asdict(other) == asdict(attack) | changed
    assert type(other) is type(attack)


def test_a_radius_of_zero_stays_one_where_no_step_can_be_scaled() -> None:
    flat = from_catalogue("pgd", "linf").with_radius(0.0)
    assert flat.with_radius(0.1).step_size == 0.0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projecting_many_points_around_one_image_gives_the_same_bits(norm: str) -> None:
    x, points = torch.rand(64, 3, 8, 8), 2 * torch.rand(64, 3, 8, 8) - 0.5
    assert torch.equal(around(x, norm, 0.1)(points), project(points, x, norm, 0.1))
