"""The Lagrangian search, against its algorithm written out in float64."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from attacks.networks_with_features import TwoStages, batch, network, written_out_distance
from attacks.small_attacks import BOUND
from robustrun.attacks.perceptual.lagrangian import LagrangianSearch, lpips_step
from robustrun.attacks.perceptual.lpips import PerceptualModel
from robustrun.errors import ConfigError
from robustrun.losses import margin


def written_out_fast_lpa(
    model: TwoStages, x: Tensor, y: Tensor, noise: Tensor, bound: float, steps: int, of: int
) -> Tensor:
    """`steps` of a Fast-LPA of `of` steps, as descent on -margin + lambda max(0, d - bound)."""
    delta = 0.01 * noise
    rows = torch.arange(len(x))
    for t in range(steps):
        eta, weight = bound * 0.1 ** (t / of), 10 * 0.1 ** (1 - t / of)
        delta = delta.detach().requires_grad_()
        logits = model(x + delta)
        others = logits.clone()
        others[rows, y] = -math.inf
        gap = others.max(1).values - logits[rows, y]
        d = written_out_distance(model, x + delta, x)
        loss = (-gap + weight * torch.relu(d - bound)).sum()
        g = torch.autograd.grad(loss, delta)[0]
        g = g / (g.flatten(1).norm(dim=1)[:, None, None, None] + 1e-8)
        m = written_out_distance(model, x + delta, x + delta - 0.1 * g) / 0.1
        delta = (x + delta - (eta / (m + 1e-4))[:, None, None, None] * g).clamp(0, 1) - x
    return (x + delta).detach()


@pytest.mark.parametrize(("steps", "of"), [(1, 1), (10, 10)])
def test_fast_lpa_is_the_written_out_algorithm(steps: int, of: int):
    model = network().eval()
    x, y = batch(model)
    noise = torch.empty_like(x).normal_(generator=torch.Generator().manual_seed(3))
    expected = written_out_fast_lpa(model, x, y, noise, BOUND, steps, of)
    search = LagrangianSearch(steps=of, penalty=10.0, probe=0.1, start_std=0.01)
    generator = torch.Generator().manual_seed(3)
    found = search(PerceptualModel(model, None), x, y, BOUND, generator)
    # Ten steps in float64 amplify rounding, but stay far from what one wrong constant changes.
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-9)
    assert (found - x).abs().max() > 0.01


def test_fast_lpa_raises_the_margin_and_ends_near_the_bound():
    model = network().eval()
    x, y = batch(model)
    perception = PerceptualModel(model, None)
    found = LagrangianSearch(10, 10.0, 0.1, 0.01)(perception, x, y, BOUND)
    distance = perception.distance(found, x)
    # Not projected: the last step is 0.13 of the bound, and curvature adds to it.
    assert distance.max() < 1.5 * BOUND
    assert distance.mean() > 0.5 * BOUND
    assert (margin(model(found), y) > margin(model(x), y)).all()


def test_an_image_without_a_finite_slope_stays_where_it_is_and_the_others_move():
    model = network().eval()
    x, _ = batch(model, 3)
    perception = PerceptualModel(model, None)
    features = perception.features(x).detach()
    slope = torch.rand_like(x)
    whole = lpips_step(perception, x, features, slope, 0.1, 0.1, 1e-4)
    slope[1, 0, 0, 0] = math.nan
    found = lpips_step(perception, x, features, slope, 0.1, 0.1, 1e-4)
    assert torch.equal(found[1], x[1])
    torch.testing.assert_close(found[[0, 2]], whole[[0, 2]])
    assert (whole[1] != x[1]).any()


def test_a_setting_out_of_its_range_is_refused_by_name():
    search = LagrangianSearch(steps=10, penalty=10.0, probe=0.1, start_std=0.01)
    limits = [("steps", 1, 0), ("penalty", 0.0, -0.01), ("probe", 1e-6, 0.0)]
    for key, right, wrong in [*limits, ("start_std", 1e-6, 0.0)]:
        assert getattr(dataclasses.replace(search, **{key: right}), key) == right
        with pytest.raises(ConfigError, match=rf"^{key} is .* but must be "):
            dataclasses.replace(search, **{key: wrong})
