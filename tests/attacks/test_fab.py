"""FAB against models whose smallest adversarial perturbation is known."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks.small_attacks import (
    attack,
)
from attacks.small_networks import (
    DUAL,
    EPSILON,
    NORMS,
    SHAPE,
    Counting,
    Linear,
    batch,
    generator,
    network,
    right,
)
from robustrun.attacks.fab import FAB
from robustrun.attacks.geometry.ball import distance, length

PIXELS = 72


def planes(norm: str, classes: int = 4, count: int = 4) -> tuple[Linear, Tensor, Tensor, Tensor]:
    """(linear model, x, y, distance to the nearest boundary), far from the edge of the box."""
    weight = torch.randn(classes, PIXELS, generator=generator(3))
    bias = torch.randn(classes, generator=generator(4)) - weight.sum(dim=1) / 2
    x = 0.5 + 0.1 * torch.rand(count, *SHAPE, generator=generator(5))
    logits = x.flatten(1) @ weight.T + bias
    y = logits.argmax(dim=1)
    steps = weight[None] - weight[y][:, None]
    size = steps.norm(p=DUAL[norm], dim=2).clamp_min(1e-9)
    away = (logits.gather(1, y[:, None]) - logits) / size
    away.scatter_(1, y[:, None], torch.inf)
    return Linear(weight, bias), x, y, away.amin(dim=1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fab", "fab_t"])
def test_finds_the_smallest_perturbation_of_a_linear_model(name: str, norm: str) -> None:
    model, x, y, away = planes(norm)
    its = attack(name, norm, steps=30, restarts=1)
    for one in range(len(x)):
        xi, yi, radius = x[one : one + 1], y[one : one + 1], float(away[one])
        within = its.with_radius(1.01 * radius)(model, xi, yi)
        assert not right(model, within, yi).any(), "1% more than the least is enough"
        assert distance(within, xi, norm) <= 1.01 * radius
        assert torch.equal(its.with_radius(0.999 * radius)(model, xi, yi), xi), "less is not"


@pytest.mark.parametrize(("alpha_max", "share"), [(0.1, 0.1), (1.0, 0.4)])
def test_a_step_is_the_papers(alpha_max: float, share: float) -> None:
    """Equation 9: beyond the boundary from here, drawn to what lies beyond it from the image."""
    unit = torch.tensor([0.6, 0.8]).view(1, 1, 1, 2)
    point = torch.full((1, 1, 1, 2), 0.5)
    x = point - 0.1 * unit  # the boundary is 0.2 from the point, and 0.3 from the image
    its = attack("fab", "l2", alpha_max=alpha_max, eta=1.05)
    found = its._towards(point, x, torch.tensor([-2.0]), 10 * unit)
    from_point, from_x = point + 1.05 * 0.2 * unit, x + 1.05 * 0.3 * unit
    torch.testing.assert_close(found, (1 - share) * from_point + share * from_x)
    far = its._towards(point, x, torch.tensor([-100.0]), 10 * unit)
    assert far.flatten().tolist() == [1.0, 1.0], "no further than the image box"


@pytest.mark.parametrize(
    ("norm", "slopes", "nearest"),
    [
        ("linf", [[0.0, 4.0], [3.0, 3.0]], 2),  # lengths in l1: 4 and 6
        ("l2", [[0.0, 4.0], [3.0, 3.0]], 2),  # 4 and 4.24
        ("l1", [[0.0, 4.0], [3.0, 3.0]], 1),  # the largest: 4 and 3
    ],
)
def test_without_a_target_the_boundary_that_is_nearest_in_the_norm_is_taken(
    norm: str, slopes: list[list[float]], nearest: int
) -> None:
    model = Linear(torch.tensor([[0.0, 0.0], *slopes]), torch.zeros(3))
    x = torch.full((1, 1, 1, 2), 0.5)
    model.bias.data[1:] = -1 - model(x)[0, 1:]  # both are 1 logit behind
    gap, slope = attack("fab", norm)._boundary(model, x, torch.tensor([0]), torch.tensor([0]))
    assert gap.tolist() == pytest.approx([-1.0])
    assert slope.flatten().tolist() == slopes[nearest - 1]
    assert not gap.requires_grad
    assert not slope.requires_grad


@pytest.mark.parametrize("norm", NORMS)
def test_a_restart_begins_half_a_radius_away_and_the_first_run_at_the_image(norm: str) -> None:
    its, x = attack("fab", norm, 0.2), torch.full((3, *SHAPE), 0.5)
    found = its._start(x, torch.tensor([True, False, True]), generator())
    away = length(found - x, norm).flatten().tolist()
    assert away == pytest.approx([0.1, 0.0, 0.1], rel=1e-5)
    assert its._start(x, torch.tensor([False] * 3), generator()) is x


def test_each_class_is_aimed_at_as_often_as_there_are_restarts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, bool]] = []

    def start(self: FAB, x: Tensor, at_random: Tensor, _: Any) -> Tensor:
        random.append(bool(at_random))
        return x

    def step(self: FAB, model: nn.Module, point: Tensor, x: Tensor, y: Tensor, aim: Tensor):
        seen.append((int(aim), random[-1]))
        return point

    random: list[bool] = []
    monkeypatch.setattr(FAB, "_start", start)
    monkeypatch.setattr(FAB, "_step", step)
    model = network()
    x, y = batch(model, 1)
    first, second = model.eval()(x)[0].argsort(descending=True).tolist()[1:3]
    attack("fab_t", "linf", steps=1, targets=2, restarts=2)(model, x, y)
    assert seen == [(first, False), (first, True), (second, False), (second, True)]
    assert attack("fab", "linf", restarts=4)._plan(model, x, y, None)[0] == 4


def test_targets_reach_a_boundary_that_is_not_the_nearest() -> None:
    model, x, y, away = planes("l2")
    its = attack("fab_t", "l2", float(away.max()) * 1.01, steps=10, targets=3)
    assert not right(model, its(model, x, y), y).any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fab", "fab_t"])
def test_what_becomes_of_an_image_does_not_depend_on_its_batch(name: str, norm: str) -> None:
    model = network()
    x, y = batch(model, 8)
    its = attack(name, norm, EPSILON[norm] / 2, steps=12, restarts=1)  # no random start
    together = its(model, x, y)
    alone = torch.cat([its(model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert 0 < int(right(model, together, y).sum()) < len(x)
    assert torch.equal(right(model, together, y), right(model, alone, y))
    # Sums of other lengths round differently, and steps carry that on.
    assert (together - alone).abs().max() < 1e-4


def test_what_is_fooled_leaves_the_batch() -> None:
    model = Counting(network())
    x, y = batch(model.model, 12)
    its = attack("fab_t", "l2", EPSILON["l2"] / 2, steps=10, targets=1)
    x_adv = its(model, x, y)
    stood = int(right(model.model, x_adv, y).sum())
    assert 0 < stood < 12
    # the verdict, the ranking and the verdict again; then a gradient and a verdict each step
    assert 2 * 10 * stood <= model.seen - 3 * 12 < 2 * 10 * 12


def test_once_the_model_is_fooled_too_far_away_goes_a_tenth_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points: list[Tensor] = []

    def step(self: FAB, model: nn.Module, point: Tensor, x: Tensor, *_: Tensor) -> Tensor:
        points.append(point)
        return x + 0.4

    monkeypatch.setattr(FAB, "_step", step)
    model = Linear(
        torch.cat([torch.zeros(1, PIXELS), torch.ones(1, PIXELS)]), torch.tensor([36, 0.0])
    )
    x, y = torch.full((2, *SHAPE), 0.3), torch.zeros(2, dtype=torch.long)
    assert torch.equal(attack("fab", "linf", 0.1, steps=2, restarts=1)(model, x, y), x)
    assert torch.equal(points[0], x)
    assert torch.allclose(points[1], x + 0.9 * 0.4)


@pytest.mark.parametrize("norm", NORMS)
def test_a_restart_comes_off_a_plateau(norm: str) -> None:
    class Plateau(nn.Module):
        """Flat around mid-grey; another class beyond 0.05 from it, in the first pixel."""

        def forward(self, x: Tensor) -> Tensor:
            rise = ((x.flatten(1)[:, :1] - 0.5).abs() - 1e-4).relu()
            return torch.cat([torch.full_like(rise, 0.05), rise], dim=1)

    x, y = torch.full((6, *SHAPE), 0.5), torch.zeros(6, dtype=torch.long)
    once, again = (attack("fab", norm, 0.1, steps=4, restarts=n) for n in (1, 2))
    assert right(Plateau(), once(Plateau(), x, y, generator=generator()), y).all()
    assert not right(Plateau(), again(Plateau(), x, y, generator=generator()), y).any()
