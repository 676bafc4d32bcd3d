"""MultiTargeted: towards each class in turn, what that finds that others miss, and who leaves."""

import pytest
import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.multi_targeted import MultiTargeted


class Logits(nn.Module):
    """The logits are a fixed function of one number: the image's first pixel."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x.flatten(1)[:, 0])  # type: ignore[operator, no-any-return]


def attack(**changes: object) -> MultiTargeted:
    settings = {
        "norm": "linf",
        "epsilon": 0.1,
        "targets": 9,
        "steps": 20,
        "step_size": 0.02,
        "drops": (0.5, 0.75),
        "restarts": 1,
    }
    return MultiTargeted(**(settings | changes))  # type: ignore[arg-type]


def linear(classes: int = 4) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model, images in the middle of the box, and the labels it predicts for them."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, classes))
    x = 0.3 + 0.4 * torch.rand(20, 3, 2, 2)
    return model, x, model(x).argmax(dim=1)


def worst_case(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> Tensor:
    """How far the nearest boundary of a linear model is from each image, N."""
    weight, bias = model[1].weight, model[1].bias  # type: ignore[index]
    gaps = x.flatten(1) @ weight.T + bias
    gaps = gaps.gather(1, y[:, None]) - gaps
    slopes = weight[y][:, None] - weight
    lengths = slopes.abs().sum(2) if norm == "linf" else slopes.norm(dim=2)
    return (gaps / lengths.clamp_min(1e-12)).scatter(1, y[:, None], torch.inf).amin(dim=1).detach()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_finds_exactly_what_a_linear_model_gives_away(norm: str) -> None:
    model, x, y = linear()
    away = worst_case(model, x, y, norm)
    radius = away.median().item() * 1.01
    found = attack(norm=norm, epsilon=radius, step_size=radius / 4)(model, x, y)
    fooled = model(found).argmax(dim=1) != y
    # Within 0.5% of the boundary either answer is right: the last steps are that long.
    clear = (away / radius - 1).abs() > 5e-3
    assert clear.sum() >= 15
    assert torch.equal(fooled[clear], (away < radius)[clear])
    assert 0 < fooled.sum() < len(x)


def test_aims_at_classes_that_are_not_the_likeliest() -> None:
    # Class 1 is the runner-up at the start and never wins; class 2 is behind, and wins at 0.6.
    model = Logits(lambda v: torch.stack([0 * v + 1, 0 * v + 0.9, 5 * (v - 0.38)], dim=1))
    x, y = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])
    one = attack(targets=1, epsilon=0.12, step_size=0.03)
    two = attack(targets=2, epsilon=0.12, step_size=0.03)
    generator = torch.Generator().manual_seed(0)
    assert one(model, x, y, generator=generator).item() < 0.58
    assert two(model, x, y, generator=generator).item() > 0.58


def test_all_classes_are_aimed_at_once_before_any_is_twice() -> None:
    model, x, y = linear()
    likeliest = model(x).scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    runs, run = attack(targets=2, restarts=2)._plan(model, x, y, None)
    assert runs == 4
    given = [part for part in run.args if isinstance(part, Tensor)]  # type: ignore[attr-defined]
    assert torch.equal(given[-1], likeliest[:, [0, 1, 0, 1]]), "x, y and what is aimed at"


def test_the_step_shrinks_tenfold_at_each_drop() -> None:
    sizes = [attack(steps=8)._size(step) for step in range(8)]
    assert sizes == pytest.approx([0.02] * 4 + [0.002] * 2 + [0.0002] * 2)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_stays_in_the_ball_and_in_the_image(norm: str) -> None:
    model, x, y = linear()
    x = x.round()  # at the edge of the image box
    y = model(x).argmax(dim=1)
    found = attack(norm=norm, restarts=2)(model, x, y)
    assert found.min() >= 0
    assert found.max() <= 1
    assert distance(found, x, norm).max() <= 0.1 + 1e-6  # rounding of float32 images


def test_the_generator_decides_and_more_restarts_find_no_less() -> None:
    model, x, y = linear()
    radius = 4 * worst_case(model, x, y, "linf").median().item()  # one start in five succeeds

    def run(restarts: int) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        few = attack(epsilon=radius, step_size=radius / 50, steps=1, targets=1, restarts=restarts)
        return few(model, x, y, generator=generator)

    assert torch.equal(run(1), run(1))
    right = [(model(run(restarts)).argmax(dim=1) == y) for restarts in (1, 8)]
    assert not (right[1] & ~right[0]).any()
    assert right[1].sum() < right[0].sum()


def test_what_is_wrong_already_is_left_alone_and_no_image_at_all_is_fine() -> None:
    model, x, y = linear()
    wrong = (y + 1) % 4
    seen: list[int] = []
    model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    assert torch.equal(attack()(model, x, wrong), x)
    assert len(seen) == 1
    assert attack()(model, x[:0], y[:0]).shape == (0, 3, 2, 2)
    assert attack()(model, x[:1], y[:1]).shape == (1, 3, 2, 2)


def test_says_so_when_there_are_fewer_classes_than_targets() -> None:
    told = attack().effective_settings(4)
    assert told["targets"] == 3
    assert "3 target classes instead of 9" in told["instead"]
    assert "instead" not in attack().effective_settings(10)
