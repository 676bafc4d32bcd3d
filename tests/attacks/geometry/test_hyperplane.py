"""The projection on a hyperplane inside the image box."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attacks.small_networks import (
    NORMS,
)
from robustrun.attacks.geometry.hyperplane import to_hyperplane
from robustrun.compute import accelerators


def furthest(steep: Tensor, room: Tensor, norm: str, radius: float) -> float:
    """How far w · d can fall for |d| <= radius in the box: an upper bound, tight at the optimum."""
    if norm == "linf":
        return float((steep * room.clamp_max(radius)).sum())
    if norm == "l1":
        order = steep.argsort(descending=True)
        before = room[order].cumsum(0) - room[order]
        return float((steep[order] * (radius - before).clamp_min(0).minimum(room[order])).sum())
    # l2, by duality: for every t, max over the box of w · d - (|d|^2 - radius^2) / (2 t)
    t = torch.logspace(-5, 5, 4000, dtype=torch.float64)[:, None]
    d = (t * steep).minimum(room)
    return float(((steep * d - d**2 / (2 * t)).sum(dim=1) + radius**2 / (2 * t[:, 0])).min())


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), part=st.floats(0.05, 1.5), pixels=st.integers(1, 40))
def test_projection_on_a_hyperplane_reaches_it_by_the_shortest_way(
    norm: str, seed: int, part: float, pixels: int
) -> None:
    draws = torch.Generator().manual_seed(seed)
    x = torch.rand(3, pixels, generator=draws, dtype=torch.float64)
    x[:, ::4] = x[:, ::4].round()
    slope = torch.randn(3, pixels, generator=draws, dtype=torch.float64)
    slope[:, ::5] = 0.0
    down = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)  # on which side of it they are
    room = torch.where(slope * down[:, None] > 0, x, 1 - x)
    reach = (slope.abs() * room).sum(dim=1)
    gap = part * reach * down
    d = to_hyperplane(x[None], slope, gap[None], norm)[0]
    twice = to_hyperplane(torch.stack([x, x]), slope, torch.stack([-gap, gap]), norm)
    assert torch.equal(twice[1], d), "another point with the same slope changes nothing"
    # float64 throughout, but x + (1 - x) need not be 1
    assert (x + d).min() >= -1e-12
    assert (x + d).max() <= 1 + 1e-12
    # float64 throughout, but divisions by small slopes
    assert torch.allclose((slope * d).sum(dim=1), -gap.abs().minimum(reach) * down, atol=1e-9)
    assert (d[slope == 0] == 0).all()
    for row in range(3):
        size = float(torch.linalg.vector_norm(d[row], {"linf": torch.inf, "l2": 2, "l1": 1}[norm]))
        shorter = furthest(slope[row].abs(), room[row], norm, 0.99 * size)
        assert shorter <= float(gap[row].abs()) + 1e-9, "a way 1% shorter does not reach it"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3])  # of the way through the whole box
def test_projection_without_looking_at_a_value_gives_the_same_bits(
    norm: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, slope = torch.rand(2, 50, 192), torch.randn(50, 192)
    x[0, :, ::4] = x[0, :, ::4].round()
    gap = (share * slope.abs().sum(dim=1)).expand(2, 50)
    looked = to_hyperplane(x, slope, gap, norm)
    monkeypatch.setattr(accelerators, "works_ahead", lambda x: True)
    assert torch.equal(to_hyperplane(x, slope, gap, norm), looked)


def test_projection_without_a_slope_stays() -> None:
    x = torch.rand(2, 5)
    for norm in NORMS:
        d = to_hyperplane(x[None], torch.zeros(2, 5), torch.tensor([[1.0, -1.0]]), norm)
        assert torch.equal(d, torch.zeros(1, 2, 5))
