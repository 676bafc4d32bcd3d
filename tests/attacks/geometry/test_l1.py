"""The l1 ball in the image box, against certificates."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attacks.largest_rise import largest_rise
from attacks.small_networks import DUAL, NORMS, SHAPE, generator
from robustrun.attacks.geometry.l1 import project_l1, sparse_sign, support

PIXELS = 72


def certified(point: Tensor, center: Tensor, x: Tensor, epsilon: float) -> float:
    """How far <center - point, z - point> rises above 0 over all z in ball and box.

    It does not for the nearest point, and for that one alone; the largest value of the linear
    function over the set is a knapsack, so nothing here is shared with the projection.
    """
    slope = center - point
    offset = (slope * (point - x)).sum(dim=1)
    best = torch.stack([largest_rise(s, x[None, i], "l1", epsilon)[0] for i, s in enumerate(slope)])
    return float((best - offset).max())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    epsilon=st.floats(0.0, 30.0),
    scale=st.floats(1e-3, 10.0),
    pixels=st.integers(1, 60),
)
def test_projection_on_the_l1_ball_in_the_box_is_the_nearest_point(
    seed: int, epsilon: float, scale: float, pixels: int
) -> None:
    draws = torch.Generator().manual_seed(seed)
    x = torch.rand(4, 1, 1, pixels, generator=draws, dtype=torch.float64)
    x[..., ::3] = x[..., ::3].round()
    center = x + scale * torch.randn(x.shape, generator=draws, dtype=torch.float64)
    point = project_l1(center, x, epsilon)
    assert point.min() >= 0
    assert point.max() <= 1
    # float64; 25 halvings of the bracket bound what is left of the error by 10 * 2**-25 a pixel
    tolerance = 60 * 10 * 2.0**-25
    assert (point - x).abs().flatten(1).sum(dim=1).max() <= epsilon + tolerance
    flat = (point.flatten(1), center.flatten(1), x.flatten(1))
    assert certified(*flat, epsilon) <= tolerance * (1 + scale * 10)


def test_a_projection_fills_the_ball_to_the_last_digit() -> None:
    """The shrinkage is solved for, not only bracketed."""
    draws = torch.Generator().manual_seed(0)
    x = 0.4 + 0.2 * torch.rand(20, 1, 4, 6, generator=draws, dtype=torch.float64)
    point = x + torch.randn(x.shape, generator=draws, dtype=torch.float64)
    for epsilon in (0.1, 1.0, 5.0):
        used = (project_l1(point, x, epsilon) - x).abs().flatten(1).sum(dim=1)
        torch.testing.assert_close(used, torch.full_like(used, epsilon), rtol=0, atol=1e-12)


def test_a_sparse_step_takes_the_largest_pixels_equally() -> None:
    slope = torch.arange(1.0, PIXELS + 1).view(1, *SHAPE) * torch.tensor(-1.0)
    step = sparse_sign(slope, torch.tensor([0.25])).flatten()
    assert torch.equal(step[:54], torch.zeros(54))
    assert torch.allclose(step[54:], torch.full((18,), -1 / 18))
    assert sparse_sign(torch.zeros(1, *SHAPE), torch.tensor([0.2])).abs().sum() == 0


@pytest.mark.parametrize(("share", "pixels"), [(0.0, 1), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_a_sparse_step_moves_at_least_one_pixel_and_at_most_all(share: float, pixels: int) -> None:
    slope = torch.tensor([4.0, -3.0, 2.0, 1.0]).view(1, 1, 2, 2)
    step = sparse_sign(slope, torch.tensor([share])).flatten()
    expected = torch.tensor([1.0, -1.0, 1.0, 1.0]) / pixels
    expected[pixels:] = 0.0
    torch.testing.assert_close(step, expected)


def test_the_pixels_that_are_changed_are_counted() -> None:
    delta = torch.tensor([[0.0, -0.1, 0.2], [0.0, 0.0, 0.0]]).view(2, 1, 1, 3)
    assert support(delta).tolist() == [2.0, 0.0]
    assert support(delta).dtype == delta.dtype


def test_dual_norms_are_what_the_largest_rise_says() -> None:
    """The certificates above rest on this function: without a box it is the dual norm."""
    weight = torch.randn(PIXELS, generator=generator(), dtype=torch.float64)
    x = torch.full((1, PIXELS), 0.5, dtype=torch.float64)
    for norm in NORMS:
        rise = float(largest_rise(weight, x, norm, 0.01))
        assert rise == pytest.approx(0.01 * float(weight.norm(p=DUAL[norm])), rel=1e-9)
