"""Slopes over a neighbourhood: right on linear networks, and found where a point has none."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from evaluation.audit.audit_targets import target
from evaluation.audit.small_audits import QUICK
from evaluation.grey_images import grey, linear
from robustrun.attacks.geometry.ball import length
from robustrun.attacks.pgd import PGD
from robustrun.evaluation.audit import finite_differences as module
from robustrun.evaluation.audit.finite_differences import Smoothed, finite_differences

HOW = dataclasses.replace(QUICK.differences, samples=400, cells=4, reach=0.5)


class Steps(nn.Module):
    """Images rounded to steps of 1/20: no slope anywhere."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = linear()((20 * x).round() / 20)
        return logits


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_on_a_linear_network_it_is_the_gradient(norm: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x = (0.4 + 0.2 * torch.rand(5, 1, 4, 4)).requires_grad_()
    target_class = torch.tensor([0, 1, 2, 0, 1])
    smoothed = Smoothed(network, HOW, norm, 0.1)
    torch.testing.assert_close(smoothed(x), network(x), rtol=0, atol=0)
    slopes = [
        torch.autograd.grad(model(x)[torch.arange(5), target_class].sum(), x)[0].flatten(1)
        for model in (smoothed, network)
    ]
    # 400 random directions in 16 dimensions: the rest is noise of sqrt(16 / 400)
    assert nn.functional.cosine_similarity(*slopes).min() > 0.95


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_it_looks_a_share_of_the_radius_to_either_side(norm: str) -> None:
    x = torch.rand(3, 2, 6, 6)
    step = Smoothed(linear(), HOW, norm, 0.1)._step(x)
    torch.testing.assert_close(length(step, norm).flatten(), torch.full((3,), 0.05))
    blocks = step.abs().unique()
    assert len(blocks) == 1, "signs on squares, nothing else"


def test_images_smaller_than_the_grid_have_a_cell_for_each_pixel() -> None:
    step = Smoothed(linear(), HOW, "linf", 0.1)._step(torch.rand(64, 1, 2, 2))
    assert len(step.sign().flatten(1).unique(dim=0)) == 16  # all patterns of 4 pixels


def test_where_there_is_no_answer_on_one_side_that_direction_tells_nothing() -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return linear()(x).where(x.flatten(1).mean(1, keepdim=True) < 0.52, math.nan)

    smoothed = Smoothed(Breaks(), dataclasses.replace(HOW, cells=1), "linf", 0.1)
    x = grey(0.5, 0.3)
    pulled = smoothed.pull_back(x, torch.ones(2, 2) * torch.tensor([0.0, 1.0]))
    assert torch.equal(pulled[0], torch.zeros(1, 2, 2))
    assert (pulled[1] > 0).all()


def test_what_stands_for_want_of_a_slope_alone_is_turned() -> None:
    levels = torch.linspace(0.05, 0.95, 40)
    x, y = grey(*levels.tolist()), (Steps()(grey(*levels.tolist())).argmax(dim=1))
    check = finite_differences(target(Steps(), x, y))
    in_reach = int(((levels - 0.5).abs() < 0.1).sum())
    assert check.status == "fail"
    assert check.measured == pytest.approx(1 - in_reach / 40, abs=1.5 / 40)  # an image either side


def test_steps_of_a_quarter_of_the_radius_are_taken_from_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[PGD] = []
    monkeypatch.setattr(module, "craft_with", lambda attack, _: made.append(attack))
    monkeypatch.setattr(module, "compare_attack", lambda *given, **named: named)
    named = finite_differences(target(linear(), grey(0.4), torch.tensor([0])))
    steps, examples = QUICK.differences.steps, QUICK.differences.examples
    assert made == [PGD("linf", 0.1, steps, 0.025, 1, False, "margin")]
    assert named == {"first": examples, "shared": False}


def test_only_the_first_images_are_tried() -> None:
    levels = torch.full((80,), 0.45)
    settings = dataclasses.replace(QUICK, differences=dataclasses.replace(HOW, examples=30))
    x, y = grey(*levels.tolist()), torch.zeros(80, dtype=torch.long)
    check = finite_differences(target(linear(), x, y, settings=settings))
    assert (check.measured, check.expected) == (0.0, 1.0)
    assert "30 of the 30 images" in check.why
