"""Accuracy against the radius, on linear networks."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluation.grey_images import CPU, grey, linear, measured, pgd
from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.fmn import FMN
from robustrun.attacks.noise import GaussianNoise
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.curve import AccuracyCurve, accuracy_curve
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.setting import Setting
from robustrun.storage.journal import Journal


def test_the_curve_falls_and_a_success_at_a_smaller_radius_counts() -> None:
    found = measured({"pgd": pgd()}, [0.45, 0.35, 0.75, 0.9], [0, 0, 1, 1])
    assert [radius for radius, _ in found.curve] == [0.0, 0.1, 0.2]
    assert [int(right.sum()) for _, right in found.curve] == [4, 3, 2]


def test_an_attack_for_the_smallest_perturbation_gives_the_curve_in_one_run() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.seen = linear(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.seen += len(x)
            return self.model(x)

    def curve(*radii: float) -> tuple[list[tuple[float, int]], int]:
        model, fmn = Counting(), FMN("linf", 0.1, 40, 0.2, 0.01, 0.05, 0.001)
        images = TensorImages(grey(0.45, 0.3, 0.72, 0.9), torch.tensor([0, 0, 1, 0]))
        entries = [*accuracies({"fmn": fmn}), AccuracyCurve("fmn", fmn, radii)]
        found = measure(model, images, 2, entries, Setting(0, 2, CPU))
        return [(radius, int(right.sum())) for radius, right in found.curve], model.seen

    # Distances to the boundary: 0.05, 0.2 and 0.22; the last image is wrong from the start.
    points, few = curve(0.1, 2.1, 3.0, 100.0)
    assert points == [
        (0, 3),
        (pytest.approx(0.01), 3),
        (0.1, 2),
        (pytest.approx(0.21), 1),
        (pytest.approx(0.3), 0),
    ]
    many = curve(*np.linspace(0.1, 2, 30))[1]
    assert many == few, "further radii cost no further pass"


def test_what_has_fallen_at_a_radius_is_not_tried_at_a_larger_one() -> None:
    tried: list[tuple[float, int]] = []

    class Watched(FGSM):
        def __call__(self, model: Any, x: Tensor, y: Tensor, *, generator: Any = None) -> Tensor:
            tried.append((self.epsilon, len(x)))
            return FGSM(self.norm, self.epsilon)(model, x, y)

    # 0.05, 0.15, 0.25 and 0.35 from the boundary; one is wrong from the start.
    images = TensorImages(grey(0.45, 0.35, 0.25, 0.15, 0.9), torch.zeros(5, dtype=torch.long))
    attack = Watched("linf", 0.1)
    entries = [*accuracies({"it": attack}), AccuracyCurve("it", attack, (0.2, 2.0, 3.0))]
    found = measure(linear(), images, 2, entries, Setting(0, 8, CPU))
    assert [count for _, count in tried] == [4, 4, 3, 2]
    assert [radius for radius, _ in tried] == pytest.approx([0.1, 0.02, 0.2, 0.3])
    assert [int(right.sum()) for _, right in found.curve] == [4, 4, 3, 2, 1]


def test_a_curve_ends_where_the_ball_holds_every_image() -> None:
    stubborn = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        stubborn[1].weight.zero_()
        stubborn[1].bias.copy_(torch.tensor([1.0, 0.0]))
    images = TensorImages(grey(0.5), torch.tensor([0]))
    entries = [*accuracies({"pgd": pgd()}), AccuracyCurve("pgd", pgd(), (10.0, 11.0))]
    found = measure(stubborn, images, 2, entries, Setting(0, 2, CPU))
    assert [(radius, int(right.sum())) for radius, right in found.curve] == [
        (0, 1),
        (0.1, 1),
        (1, 1),
    ]


@pytest.mark.parametrize(
    ("attack", "points", "said"),
    [
        (GaussianNoise("linf", 0.1), [], "noise has no radius to change"),
        (FGSM("linf", 0.0), [(0.0, 3)], "every multiple of the radius 0 is 0"),
    ],
)
def test_where_no_radius_can_be_changed_that_is_said(
    attack: Any, points: list[tuple[float, int]], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    images = TensorImages(grey(0.45, 0.3, 0.7), torch.tensor([0, 0, 1]))
    with caplog.at_level(logging.INFO):
        entries = [*accuracies({"noise": attack}), AccuracyCurve("noise", attack, (2.0,))]
        found = measure(linear(), images, 2, entries, Setting(0, 2, CPU))
    assert [(radius, int(right.sum())) for radius, right in found.curve] == points
    assert said in caplog.text


@pytest.mark.parametrize(
    ("bounded", "rescales", "points"), [(True, True, 2), (True, False, 0), (False, True, 0)]
)
def test_only_what_stays_in_a_ball_of_any_radius_has_a_curve(
    bounded: bool, rescales: bool, points: int
) -> None:
    class Fixed:
        norm, epsilon, adversarial = "linf", 0.1, True

        def __init__(self) -> None:
            self.bounded = bounded

        def __call__(self, model: Any, x: Tensor, y: Tensor, *, generator: Any = None) -> Tensor:
            return x

    class Other(Fixed):
        def with_radius(self, epsilon: float) -> "Other":
            return self

    attack: Any = (Other if rescales else Fixed)()
    images = TensorImages(grey(0.3), torch.tensor([0]))
    pgd_alone = measure(linear(), images, 2, accuracies({"it": pgd()}), Setting(0, 2, CPU))
    subject: Any = None
    found = accuracy_curve("it", attack, subject, pgd_alone, (), Setting(0, 2, CPU))
    assert [radius for radius, _ in found] == [0.0, 0.1][:points]


def test_distances_that_the_journal_has_are_not_searched_again(tmp_path: Path) -> None:
    fmn = FMN("linf", 0.1, 40, 0.2, 0.01, 0.05, 0.001)
    images = TensorImages(grey(0.45, 0.3, 0.72), torch.tensor([0, 0, 1]))

    def curve(network: nn.Module) -> list[list[bool]]:
        setting = Setting(0, 2, CPU, journal=Journal(tmp_path / "journal", "this"))
        entries = [*accuracies({"fmn": fmn}), AccuracyCurve("fmn", fmn, (0.4, 2.1))]
        return [right.tolist() for _, right in measure(network, images, 2, entries, setting).curve]

    class Deaf(nn.Module):
        """The same answers without a gradient: no search could be run on it."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = linear()(x.detach())
            return logits

    first = curve(linear())
    assert first == [[True] * 3, [True] * 3, [False, True, True], [False, False, True]]
    assert curve(Deaf()) == first
