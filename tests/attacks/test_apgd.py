"""APGD against models whose worst case is known, and its geometry against certificates."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from toys import DUAL, EPSILON, NORMS, SHAPE, Counting, attack, batch, generator, network, right

import robustrun.attacks.apgd as apgd
from robustrun.attacks.geometry.ball import length, steepest, uniform_start
from robustrun.attacks.geometry.l1 import project_l1, sparse_sign
from robustrun.attacks.search.apgd_settings import Phase
from robustrun.attacks.search.apgd_state import (
    halve_step_size,
    initial_state,
    update_sparsity,
)
from robustrun.errors import ConfigError
from robustrun.losses import dlr, dlr_targeted

PIXELS = 72


def with_boundary(norm: str, share: float, epsilon: float, count: int = 10) -> tuple[Any, ...]:
    """(model, x, y): the boundary is at `share` of the largest rise possible in ball and box."""
    weight = torch.randn(PIXELS, generator=generator(1))
    x = torch.rand(count, *SHAPE, generator=generator(2))
    x[:, :, 0] = x[:, :, 0].round()
    logit = x.flatten(1) @ weight
    needed = share * largest_rise(weight.double(), x.flatten(1).double(), norm, epsilon).float()
    model = OwnBias(weight, x, needed + logit)
    return model, x, torch.zeros(count, dtype=torch.long)


class OwnBias(nn.Module):
    """Two logits: 0, and w · x minus what the nearest of the known images needs."""

    def __init__(self, weight: Tensor, x: Tensor, threshold: Tensor) -> None:
        super().__init__()
        self.weight, self.x, self.threshold = weight, x.flatten(1), threshold

    def forward(self, x: Tensor) -> Tensor:
        near = torch.cdist(x.detach().flatten(1), self.x).argmin(dim=1)
        rise = x.flatten(1) @ self.weight - self.threshold[near]
        return torch.stack([torch.zeros_like(rise), rise], dim=1)


def largest_rise(weight: Tensor, x: Tensor, norm: str, epsilon: float) -> Tensor:
    """max w · d over the ball and the box, in float64, by the solution of each problem."""
    room, steep = torch.where(weight > 0, 1 - x, x), weight.abs()
    if norm == "linf":
        return (steep * room.clamp_max(epsilon)).sum(dim=1)
    if norm == "l1":  # a knapsack: the steepest pixels first
        order = steep.argsort(descending=True)
        before = room[:, order].cumsum(dim=1) - room[:, order]
        return (steep[order] * (epsilon - before).clamp_min(0).minimum(room[:, order])).sum(dim=1)
    low, high = torch.zeros(len(x), 1).double(), torch.full((len(x), 1), 1e6).double()
    for _ in range(200):  # l2: min(t * w, room) with the t that fills the ball
        middle = (low + high) / 2
        outside = (middle * steep).minimum(room).norm(dim=1, keepdim=True) > epsilon
        low, high = torch.where(outside, low, middle), torch.where(outside, middle, high)
    return (steep * (low * steep).minimum(room)).sum(dim=1)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 0.8), ("l1", 2.0)])
@pytest.mark.parametrize("name", ["apgd_ce", "apgd_dlr", "apgd_t"])
def test_reaches_the_optimum_of_a_linear_model(name: str, norm: str, epsilon: float) -> None:
    # linf: exactly. l2: first the ball, then the box, as the authors have it, is not quite the
    # nearest point of both. l1: the smallest step still moves a tenth of the radius.
    gap = {"linf": 0.0001, "l2": 0.005, "l1": 0.02}[norm]
    its = attack(name, norm, epsilon, restarts=1)
    for share, falls in ((1 - gap, True), (1.0001, False)):
        model, x, y = with_boundary(norm, share, epsilon)
        x_adv = its(model, x, y, generator=generator())
        assert torch.equal(right(model, x_adv, y), torch.full((len(x),), not falls)), share


@pytest.mark.parametrize("norm", NORMS)
def test_what_becomes_of_an_image_does_not_depend_on_its_batch(
    norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for draw in ("sphere_start", "gaussian_start"):  # the same start for each, whatever its batch
        monkeypatch.setattr(apgd, draw, lambda x, *_: (x + 0.01 * (x - 0.5)).clamp(0, 1))
    model = network()
    x, y = batch(model, 8)
    its = attack("apgd_t", norm, EPSILON[norm] / 2, steps=20, targets=2)
    together = its(model, x, y)
    alone = torch.cat([its(model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert 0 < int(right(model, together, y).sum()) < len(x)
    assert torch.equal(right(model, together, y), right(model, alone, y))
    # Sums of other lengths round differently, and steps carry that on.
    assert (together - alone).abs().max() < 1e-4


def test_what_is_fooled_leaves_the_batch() -> None:
    model = Counting(network())
    x, y = batch(model.model, 16)
    its = attack("apgd_ce", "linf", 0.035, steps=50)
    x_adv = its(model, x, y, generator=generator())
    stood = int(right(model.model, x_adv, y).sum())
    assert 0 < stood < 16
    started = 16 + 16 + 16  # two verdicts on all, and the start
    assert model.seen - started < 50 * 16
    assert model.seen - started >= 50 * stood


def test_a_gradient_is_averaged_over_passes() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            noise = torch.rand(len(x), 3)
            return noise * x.flatten(1)[:, :3] * torch.tensor([1.0, 0.0, 0.0])

    model = Counting(Noisy())
    x, y = torch.full((4, *SHAPE), 0.9), torch.zeros(4, dtype=torch.long)
    attack("apgd_ce", "linf", 0.1, steps=3, eot=7)(model, x, y, generator=generator())
    assert model.seen == 4 + 4 * 7 * (3 + 1) + 4


def test_the_step_is_halved_where_it_stalls_and_only_there() -> None:
    x = torch.rand(4, *SHAPE)
    none = torch.zeros(4, dtype=torch.long)
    s = initial_state(torch.arange(4), x, none, none, x, 1.0)
    s.best = x + 1
    s.best_loss, s.checked_loss = torch.tensor([1.0, 1.0, 1.0, 1.0]), torch.zeros(4)
    s.checked_loss[2:] = 1.0  # no better than at the last check,
    s.halved = torch.tensor([False, False, False, True])  # at which the last one was halved
    s.rises = torch.tensor([6.0, 7.0, 8.0, 8.0])  # 75% of 8 is 6
    halve_step_size(s, 8, 0.75)
    assert s.step_size.tolist() == [0.5, 1.0, 0.5, 1.0]
    returned = (s.point == s.best).flatten(1).all(dim=1)
    assert returned.tolist() == [True, False, True, False]
    assert s.rises.tolist() == [0, 0, 0, 0]


def test_l1_steps_shrink_until_the_best_point_has_grown_sparser() -> None:
    x = torch.full((2, *SHAPE), 0.5)
    labels = torch.zeros(2, dtype=torch.long)
    s = initial_state(labels, x, labels, labels, x, 3.0)
    s.best = x.clone()
    s.best.view(2, -1)[0, :36] += 0.1  # of 72 pixels before, half are left,
    s.best.view(2, -1)[1, :70] += 0.1  # or nearly all
    s.pixels = torch.full((2,), 72.0)
    sparsity = attack("apgd_ce", "l1").sparsity
    update_sparsity(s, sparsity, largest_step=6.0)
    assert s.step_size.tolist() == [6.0, 2.0]
    assert torch.equal(s.point[0], s.best[0])
    assert torch.equal(s.point[1], x[1])
    assert torch.allclose(s.share, torch.tensor([36 / 72 / 1.5, 70 / 72 / 1.5]))
    for _ in range(9):
        update_sparsity(s, sparsity, largest_step=6.0)
    assert s.step_size.tolist() == pytest.approx([0.6, 0.6]), "never below a tenth of the first"


def test_l1_comes_in_through_balls_of_three_and_two_radii(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[float, float]] = []

    def spy(image: Tensor, x: Tensor, y: Tensor, aim: Tensor, start: Tensor, size: float) -> Any:
        runs.append((float(length(start - x, "l1").max()), size))
        return initial_state(image, x, y, aim, start, size)

    monkeypatch.setattr(apgd, "initial_state", spy)
    model = network()
    its = attack("apgd_ce", "l1", 0.01, steps=20, restarts=1)  # too little to fool anything
    its(model, *batch(model), generator=generator())
    assert [step for _, step in runs] == pytest.approx([0.03, 0.02, 0.01])
    assert [size for size, _ in runs] == pytest.approx([0.03, 0.02, 0.01], rel=1e-3)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"targets": 3}, "targets"),
        ({"steps": 0}, "steps"),
        ({"rho": 1.5}, "rho"),
        ({"phases": ()}, "phases"),
        ({"phases": (Phase(3.0, 0.5), Phase(1.0, 0.5))}, "phases"),
    ],
)
def test_refuses_settings_out_of_range(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        attack("apgd_ce", "linf", **change)


# --- losses ---


def test_dlr_is_the_papers_ratio_and_does_not_feel_scale_or_shift() -> None:
    logits, y = torch.tensor([[4.0, 1.0, 3.0, 0.0], [4.0, 1.0, 3.0, 0.0]]), torch.tensor([0, 2])
    assert torch.allclose(dlr(logits, y), torch.tensor([(3 - 4) / (4 - 1), (4 - 3) / (4 - 1)]))
    target = torch.tensor([1, 3])
    expected = torch.tensor([(1 - 4) / (4 - 0.5), (0 - 3) / (4 - 0.5)])
    assert torch.allclose(dlr_targeted(logits, y, target), expected)
    assert torch.allclose(dlr(5 * logits + 2, y), dlr(logits, y))
    assert torch.allclose(dlr_targeted(5 * logits + 2, y, target), expected)


# --- geometry ---


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


def test_a_sparse_step_takes_the_largest_pixels_equally() -> None:
    slope = torch.arange(1.0, PIXELS + 1).view(1, *SHAPE) * torch.tensor(-1.0)
    step = sparse_sign(slope, torch.tensor([0.25])).flatten()
    assert torch.equal(step[:54], torch.zeros(54))
    assert torch.allclose(step[54:], torch.full((18,), -1 / 18))
    assert sparse_sign(torch.zeros(1, *SHAPE), torch.tensor([0.2])).abs().sum() == 0


def test_dual_norms_are_what_the_largest_rise_says() -> None:
    """The certificates above rest on this function: without a box it is the dual norm."""
    weight = torch.randn(PIXELS, generator=generator(), dtype=torch.float64)
    x = torch.full((1, PIXELS), 0.5, dtype=torch.float64)
    for norm in NORMS:
        rise = float(largest_rise(weight, x, norm, 0.01))
        assert rise == pytest.approx(0.01 * float(weight.norm(p=DUAL[norm])), rel=1e-9)
