"""LPA: a step written out, and its rounds."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from attacks.networks_with_features import (
    batch,
    network,
    written_out_distance,
    written_out_features,
)
from attacks.small_attacks import (
    BOUND,
    lpa,
    with_bound,
)
from robustrun.attacks.lpa import LPA
from robustrun.attacks.perceptual.lpips import PerceptualModel
from robustrun.losses import margin


@pytest.mark.parametrize("confidence", [0.0, math.inf])
def test_a_step_of_lpa_is_the_written_out_one(confidence: float):
    model = network().eval()
    x, predicted = batch(model)
    y = (predicted + 1) % 4  # wrong already: beyond a confidence of 0 only the distance counts
    x_adv = torch.rand_like(x)
    clean = written_out_features(model, x).detach()
    point = x_adv.clone().requires_grad_()
    d = written_out_distance(model, point, x)
    assert d.min() > BOUND
    objective = margin(model(point), y).clamp(max=confidence) - 2.0 * torch.relu(d - BOUND)
    g = torch.autograd.grad(objective.sum(), point)[0]
    g = g / (g.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-8)
    m = written_out_distance(model, x_adv + 0.1 * g, x_adv) / 0.1
    expected = (x_adv + (0.05 / (m + 1e-8)).view(-1, 1, 1, 1) * g).clamp(0, 1)
    moved, distance, fooled = lpa(confidence=confidence)._step(
        PerceptualModel(model, None), x_adv, y, clean, torch.full((6,), 2.0), 0.05
    )
    torch.testing.assert_close(moved, expected, rtol=0.0, atol=1e-10)
    torch.testing.assert_close(distance, d.detach(), rtol=1e-12, atol=0.0)
    assert not fooled.any()


def test_further_rounds_of_lpa_lose_nothing_that_was_found():
    model = network(torch.float32).eval()
    x, y = batch(model, 32)
    left = []
    for rounds in (1, 2, 3, 5):
        generator = torch.Generator().manual_seed(0)
        x_adv = with_bound(lpa(rounds=rounds), 0.1)(model, x, y, generator=generator)
        left.append(model(x_adv).argmax(dim=1) == y)
    for fewer, more in itertools.pairwise(left):
        assert not (more & ~fewer).any()
    assert left[-1].sum() < left[0].sum()


def test_steps_shrink_over_a_round_and_penalties_grow_outside_of_the_ball(
    monkeypatch: pytest.MonkeyPatch,
):
    """To a tenth, and tenfold; the second round is without the image that was found."""
    seen: list[tuple[float, list[float]]] = []
    distances = torch.tensor([0.5, BOUND, 0.1])  # outside, at the surface, inside

    def step(self, perception, x_adv: Tensor, y, clean, penalty: Tensor, size: float):
        seen.append((size, penalty.tolist()))
        found = torch.arange(len(y)) == (3 if len(seen) == 2 else -1)
        return x_adv, torch.cat([distances, torch.zeros(1)])[: len(y)], found

    monkeypatch.setattr(LPA, "_step", step)
    model = network(torch.float32).eval()
    x, y = batch(model, 4)
    monkeypatch.setattr("robustrun.attacks.lpa.project_lpips", lambda _, x_adv, *__: x_adv)
    lpa(steps=4, rounds=3, penalty=0.01, start_std=1e-6)(model, x, y)
    sizes = [BOUND * 0.1**share for share in (0, 0.25, 0.5, 0.75)]
    assert [size for size, _ in seen] == pytest.approx(sizes * 3)
    penalties = [[0.01] * 4] * 2 + [[0.01] * 3] * 2
    penalties += [[0.1, 0.1, 0.01]] * 4 + [[1.0, 1.0, 0.01]] * 4
    assert [list(map(pytest.approx, given)) for given in penalties] == [p for _, p in seen]
