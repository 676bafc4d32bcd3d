"""APGD against its algorithm written out, and models whose worst case is known."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import robustrun.attacks.apgd as apgd
from attacks.largest_rise import largest_rise
from attacks.small_attacks import (
    attack,
)
from attacks.small_networks import (
    EPSILON,
    NORMS,
    SHAPE,
    Counting,
    batch,
    generator,
    network,
    right,
    tanh_network,
)
from robustrun.attacks.geometry.ball import length
from robustrun.attacks.search.apgd_state import (
    initial_state,
)

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


ENDS = {6: 6, 11: 5, 15: 4, 18: 3, 20: 2} | {step: 1 for step in range(21, 31)}


def written_out(model: nn.Module, x: Tensor, y: Tensor, start: Tensor, norm: str, radius: float):
    """30 steps of algorithm 1 for one image (batch of one), as the authors' code counts rises."""

    def look(point: Tensor) -> tuple[float, Tensor]:
        point = point.clone().requires_grad_()
        loss = F.cross_entropy(model(point), y)
        return loss.item(), torch.autograd.grad(loss, point)[0]

    def into(point: Tensor) -> Tensor:
        delta = point - x
        if norm == "linf":
            return (x + delta.clamp(-radius, radius)).clamp(0, 1)
        return (x + delta * min(1.0, radius / float(delta.norm()))).clamp(0, 1)

    point, former, eta, rises, halved = start, start, 2 * radius, 0, True
    loss, slope = look(point)
    best = checked = loss, point, slope
    last = 0.0
    for step in range(1, 31):
        share = 1.0 if step == 1 else 0.75
        aim = into(point + eta * (slope.sign() if norm == "linf" else slope / slope.norm()))
        moved = into(point + share * (aim - point) + (1 - share) * (point - former))
        former, point = point, moved
        loss, slope = look(point)
        rises += loss > last
        last = loss
        if loss > best[0]:
            best = loss, point, slope
        if step in ENDS:
            halved = rises <= 0.75 * ENDS[step] or (not halved and checked[0] >= best[0])
            if halved:
                eta, point, slope = eta / 2, best[1], best[2]
            checked, rises = best, 0
    return best[1]


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 1.0)])
def test_the_steps_are_the_papers(norm: str, epsilon: float) -> None:
    model, x, y = tanh_network()
    model, x = model.double(), x.double()
    y = model(x).argmax(dim=1)
    noise = torch.rand(x.shape, generator=generator(), dtype=x.dtype) - 0.5
    start = (x + epsilon * noise / length(noise, norm)).clamp(0, 1)
    its = attack("apgd_ce", norm, epsilon, steps=30)
    s = initial_state(x, y, y, start, 2 * epsilon)
    _, found = its._climb(model, s, epsilon, 2 * epsilon, 30, None)
    rows = [slice(row, row + 1) for row in range(len(x))]
    expected = [written_out(model, x[r], y[r], start[r], norm, epsilon) for r in rows]
    # float64: the same operations in another order
    torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "logits", "loss", "value"),
    [
        ("apgd_ce", [2.0, 0.0], "ce", math.log(1 + math.exp(-2))),
        ("apgd_dlr", [3.0, 1.0], "difference", -2.0),
        ("apgd_dlr", [3.0, 1.0, 0.0], "dlr", -2 / 3),  # over the 1st minus the 3rd
        ("apgd_t", [3.0, 2.0, 1.0], "difference", -1.0),
        ("apgd_t", [4.0, 2.0, 1.0, 0.0], "dlr", -2 / 3.5),  # over the 1st minus 3rd and 4th halved
    ],
)
def test_a_ratio_of_logits_is_a_difference_where_there_are_too_few(
    name: str, logits: list[float], loss: str, value: float
) -> None:
    its, one = attack(name, "linf"), torch.tensor([0])
    assert its._loss(torch.tensor([logits]), one, one + 1).tolist() == pytest.approx([value])
    told = its.effective_settings(len(logits))
    assert told["loss"] == loss
    assert ("a difference of logits" in told.get("instead", "")) == (loss == "difference")


@pytest.mark.parametrize(("steps", "parts"), [(1, [1, 0, 0]), (5, [2, 2, 1]), (10, [3, 3, 4])])
def test_the_last_ball_gets_the_steps_that_are_left(steps: int, parts: list[int]) -> None:
    schedule = list(attack("apgd_ce", "l1", steps=steps)._schedule())
    assert schedule == [(3.0, parts[0], False), (2.0, parts[1], False), (1.0, parts[2], True)]


def test_each_class_is_aimed_at_as_often_as_there_are_restarts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aims: list[int] = []

    def spy(x: Tensor, y: Tensor, aim: Tensor, start: Tensor, size: float) -> Any:
        aims.extend(aim.tolist())
        return initial_state(x, y, aim, start, size)

    monkeypatch.setattr(apgd, "initial_state", spy)
    model = network()
    x, y = batch(model, 1)
    likeliest = model.eval()(x)[0].argsort(descending=True).tolist()[1:3]
    its = attack("apgd_t", "linf", 1e-4, steps=1, targets=2, restarts=3)  # fools nothing
    its(model, x, y, generator=generator())
    assert aims == [likeliest[0]] * 3 + [likeliest[1]] * 3


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


def test_l1_comes_in_through_balls_of_three_and_two_radii(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[float, float]] = []

    def spy(x: Tensor, y: Tensor, aim: Tensor, start: Tensor, size: float) -> Any:
        runs.append((float(length(start - x, "l1").max()), size))
        return initial_state(x, y, aim, start, size)

    monkeypatch.setattr(apgd, "initial_state", spy)
    model = network()
    its = attack("apgd_ce", "l1", 0.01, steps=20, restarts=1)  # too little to fool anything
    its(model, *batch(model), generator=generator())
    assert [step for _, step in runs] == pytest.approx([0.03, 0.02, 0.01])
    assert [size for size, _ in runs] == pytest.approx([0.03, 0.02, 0.01], rel=1e-3)
