"""The adversary inside training: where it starts, what it climbs, and on which network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import uniform_start
from robustrun.errors import ConfigError
from robustrun.methods import inner as module
from robustrun.methods.inner import Inner


def inner(**changes: Any) -> Inner:
    settings = {"loss": "ce", "steps": 3, "step_size": 0.02, "start": "uniform"}
    settings |= {"start_std": 0.0, "bn_mode": "eval"}
    return Inner(**settings | changes)  # type: ignore[arg-type]


def images() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    return model, 0.3 + 0.4 * torch.rand(5, 3, 2, 2), torch.arange(5) % 3


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_start_is_what_its_name_says(norm: str) -> None:
    _, x, _ = images()
    x[0] = 1.0

    def start(name: str) -> Tensor:
        torch.manual_seed(3)
        return inner(start=name, start_std=0.2).starting_point(x, norm, 0.1)

    def expected(draw: Callable[[], Tensor]) -> Tensor:
        torch.manual_seed(3)
        return draw()

    assert torch.equal(start("uniform"), expected(lambda: uniform_start(x, norm, 0.1)))
    one_sided = expected(lambda: x + 0.1 * torch.rand(x.shape))
    torch.testing.assert_close(start("one_sided"), one_sided)
    gaussian = expected(lambda: x + 0.2 * torch.randn(x.shape))
    torch.testing.assert_close(start("gaussian"), gaussian)
    assert start("one_sided").max() > 1, "it is not clamped, as its authors have it"
    assert start("zero") is x


@pytest.mark.parametrize("loss", ["ce", "kl"])
def test_what_is_climbed_is_a_sum_over_the_batch(loss: str) -> None:
    model, x, y = images()
    other = x.flip(0).requires_grad_()
    clean, moved = model(x).softmax(dim=1), model(other).log_softmax(dim=1)
    expected = -moved[torch.arange(5), y].sum()
    if loss == "kl":
        expected = (clean.detach() * (clean.detach().log() - moved)).sum()
    found = inner(loss=loss).objective(model, x, y)(other)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(value, model.parameters()) for value in (found, expected)]
    for one, same in zip(*slopes, strict=True):  # none through the clean images
        torch.testing.assert_close(one, same)


@pytest.mark.parametrize(
    ("start", "right"),
    [("uniform", True), ("one_sided", True), ("gaussian", True), ("zero", False)],
)
def test_a_divergence_is_climbed_from_a_random_start(start: str, right: bool) -> None:
    assert inner(start=start).loss == "ce"
    if right:
        assert inner(loss="kl", start=start).start == start
        return
    with pytest.raises(ConfigError, match=r"^start is 'zero', but must be random"):
        inner(loss="kl", start=start)


@pytest.mark.parametrize(
    ("low", "mode", "steps", "folds"),
    [
        (True, "eval", 2, True),
        (True, "eval", 1, False),  # takes longer than it saves
        (True, "train", 2, False),
        (True, "train_frozen", 2, False),
        (False, "eval", 2, False),  # in float32, bits stay
    ],
)
def test_batch_norms_are_folded_away_for_several_steps_in_bfloat16(
    low: bool, mode: str, steps: int, folds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, _ = images()
    other = nn.Identity()
    monkeypatch.setattr(module, "folded", lambda _: other)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
        assert inner(steps=steps, bn_mode=mode)._network(model, x) is (other if folds else model)


def test_the_threat_model_is_given_by_its_names() -> None:
    model, x, y = images()
    assert inner()(model=model, x=x, y=y, norm="linf", epsilon=0.1).shape == x.shape
    with pytest.raises(TypeError, match="positional"):
        inner()(model, x, y, "linf", epsilon=0.1)  # type: ignore[misc]


def test_another_loss_direction_and_projection_take_the_place_of_the_usual_ones() -> None:
    model, x, y = images()
    still = inner(start="zero", steps=2)
    usual = still(model, x, y, norm="linf", epsilon=0.1)
    slope = torch.autograd.grad(F.cross_entropy(model(x.requires_grad_()), y, reduction="sum"), x)[
        0
    ].sign()
    x = x.detach()
    torch.testing.assert_close(usual, x + 0.04 * slope)
    opposite = still(model, x, y, norm="linf", epsilon=0.1, logits=lambda z: -model(z))
    assert not torch.equal(opposite, usual)
    given: list[tuple[str, float]] = []

    def projection(point: Tensor, centre: Tensor, norm: str, epsilon: float) -> Tensor:
        given.append((norm, epsilon))
        return point.clamp(0.31, 0.69)

    moved = still(
        model,
        x,
        y,
        norm="linf",
        epsilon=0.1,
        direction=lambda gradient, norm: torch.full_like(gradient, -1.0),
        projection=projection,
    )
    expected = ((x - 0.02).clamp(0.31, 0.69) - 0.02).clamp(0.31, 0.69)
    torch.testing.assert_close(moved, expected)
    assert given == [("linf", 0.1)] * 2
