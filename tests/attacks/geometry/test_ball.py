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
from robustrun.attacks.geometry.ball import (
    around,
    check_threat_model,
    distance,
    gaussian_start,
    length,
    project,
    sphere_start,
    steepest,
    uniform_start,
)
from robustrun.errors import ConfigError

NORMS = pytest.mark.parametrize("norm", ["linf", "l2", "l1"])


def column(*pixels: float) -> torch.Tensor:
    """One image of these pixels."""
    return torch.tensor(pixels).view(1, 1, -1, 1)


@pytest.mark.parametrize(("norm", "expected"), [("linf", 4.0), ("l2", 5.0), ("l1", 7.0)])
def test_a_length_and_a_distance_are_the_norm(norm: str, expected: float) -> None:
    delta = torch.cat([column(3.0, -4.0), column(0.0, 0.0)])
    assert length(delta, norm).flatten().tolist() == [expected, 0.0]
    assert length(delta, norm).shape == (2, 1, 1, 1)
    away = distance(1 + delta, torch.ones_like(delta), norm)
    assert (away.tolist(), away.dtype) == ([expected, 0.0], torch.float64)
    assert distance(delta[:0], delta[:0], norm).shape == (0,)
    assert distance(delta[:, :, :0], delta[:, :, :0], norm).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("norm", "epsilon", "expected"),
    [
        ("linf", 0.3, (0.8, 0.2, 0.5)),
        ("linf", 0.0, (0.5, 0.5, 0.5)),
        ("l2", 0.25, (0.65, 0.3, 0.5)),  # the way is (0.3, -0.4, 0), and 0.5 long
        ("l2", 0.5, (0.8, 0.1, 0.5)),
        ("l2", 0.7, (0.8, 0.1, 0.5)),
        ("l2", 0.0, (0.5, 0.5, 0.5)),
        ("l1", 0.3, (0.6, 0.3, 0.5)),  # 0.2 less of each
        ("l1", 0.7, (0.8, 0.1, 0.5)),
    ],
)
def test_a_point_is_projected_to_the_ball(
    norm: str, epsilon: float, expected: tuple[float, ...]
) -> None:
    x, point = column(0.5, 0.5, 0.5), column(0.8, 0.1, 0.5)
    torch.testing.assert_close(project(point, x, norm, epsilon), column(*expected))
    torch.testing.assert_close(around(x, norm, epsilon)(point), column(*expected))


@NORMS
def test_a_point_is_projected_to_the_image_box(norm: str) -> None:
    found = project(column(1.4, -0.2), column(0.9, 0.1), norm, 3.0)
    torch.testing.assert_close(found, column(1.0, 0.0))


@pytest.mark.parametrize(
    ("norm", "expected"), [("linf", (1, -1, 0)), ("l2", (0.6, -0.8, 0)), ("l1", (0, -1, 0))]
)
@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_the_steepest_direction_has_the_length_one_however_flat_it_is(
    norm: str, expected: tuple[float, ...], scale: float
) -> None:
    slope = torch.cat([scale * column(3.0, -4.0, 0.0), column(0.0, 0.0, 0.0)])
    found = steepest(slope, norm)
    torch.testing.assert_close(found[:1], column(*map(float, expected)))
    assert found[1].tolist() == torch.zeros(1, 3, 1).tolist()


@NORMS
def test_a_random_start_is_a_point_of_the_ball_then_of_the_image(norm: str) -> None:
    x = torch.rand(200, 1, 4, 4, generator=generator(1))
    draws, noise = generator(2), torch.empty_like(x)
    if norm == "linf":
        noise.uniform_(-0.3, 0.3, generator=draws)
    else:  # a random direction, times a radius up to 0.3
        noise.normal_(generator=draws)
        radius = torch.rand(200, generator=draws)
        size = noise.flatten(1).norm(dim=1, p=2 if norm == "l2" else 1)
        noise *= (0.3 * radius / size)[:, None, None, None]
    torch.testing.assert_close(uniform_start(x, norm, 0.3, generator(2)), (x + noise).clamp(0, 1))
    torch.manual_seed(2)
    torch.testing.assert_close(uniform_start(x, norm, 0.3), (x + noise).clamp(0, 1))


@NORMS
def test_a_start_on_the_sphere_is_as_far_away_as_asked_on_all_sides(norm: str) -> None:
    x = torch.full((60, 1, 4, 4), 0.5)
    moved = sphere_start(x, norm, 0.3, generator()) - x
    torch.testing.assert_close(length(moved, norm).flatten(), torch.full((60,), 0.3))
    assert moved.sign().mean().abs() < 0.17  # 960 signs: five deviations of their mean
    edge = torch.zeros(60, 1, 4, 4)
    assert sphere_start(edge, norm, 0.3, generator()).min() == 0
    assert sphere_start(edge + 1, norm, 0.3, generator()).max() == 1
    others = sphere_start(x, norm, 0.3, generator(1)) - x
    assert not torch.equal(others, moved)


def test_normal_noise_is_added_and_not_clamped() -> None:
    x = torch.rand(3, *SHAPE)
    noise = torch.empty_like(x).normal_(generator=generator(3))
    torch.testing.assert_close(gaussian_start(x, 2.0, generator(3)), x + 2 * noise)


def test_a_threat_model_is_a_norm_and_a_radius_that_its_ball_can_have() -> None:
    for norm, radius in (("linf", 0.0), ("linf", 1.0), ("l2", 0.0), ("l2", 1.5), ("l1", 12.0)):
        check_threat_model(norm, radius)
    for norm in ("linf", "l2", "l1"):
        with pytest.raises(ConfigError, match=r"^epsilon is -0.01, but must be a radius"):
            check_threat_model(norm, -0.01)
    with pytest.raises(ConfigError, match=r"^epsilon is 1.01, but must be at most 1"):
        check_threat_model("linf", 1.01)
    with pytest.raises(ConfigError, match=r"^norm is 'l7', but must be one of linf, l2, l1"):
        check_threat_model("l7", 0.1)


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
