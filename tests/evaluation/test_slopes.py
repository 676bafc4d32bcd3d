"""A gradient that is zero where images stand is told, and nothing else is."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustrun
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.search_networks import SearchNetworks
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.slopes import warn_of_lost

GREY = torch.linspace(0, 1, 40)[:, None, None, None].expand(-1, 1, 2, 2).clone()  # N x 1 x 2 x 2
BRIGHT = (GREY[:, 0, 0, 0] > 0.5).long()


class Brightness(nn.Module):
    """Whether the mean of the pixels is above 0.5; its logits have this scale, and its pixels are
    rounded to so many levels where any are named."""

    def __init__(self, scale: float = 1.0, levels: int = 0) -> None:
        super().__init__()
        self.scale, self.levels = scale, levels

    def forward(self, x: Tensor) -> Tensor:
        x = torch.round(x * self.levels) / self.levels if self.levels else x
        above = self.scale * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-above, above], dim=1)


class Constant(nn.Module):
    """Always the second class."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.0 * x.flatten(1)[:, :2] + torch.tensor([0.0, 1.0])


def measured(network: nn.Module, **attacks: Any) -> dict[str, int]:
    """How many of the forty images stand under each attack."""
    found = robustrun.evaluate(network, (GREY, BRIGHT), attacks)
    return {name: int(result.robust.sum()) for name, result in found.attacks.items()}


def attack(name: str, **keys: Any) -> Any:
    return robustrun.attack(name, norm="linf", epsilon=0.2, **keys)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "a gradient of zero" in record.message]


@pytest.fixture(autouse=True)
def warnings_seen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


@pytest.mark.parametrize("name", ["pgd", "fgsm", "apgd_ce", "autoattack"])
def test_a_usable_gradient_is_not_spoken_of(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert measured(Brightness(), it=attack(name)) == {"it": 24}  # darker than 0.3, or above 0.7
    assert told(caplog) == []


@pytest.mark.parametrize("name", ["pgd", "fgsm", "mi_fgsm", "apgd_ce"])
def test_pixels_that_are_rounded_leave_nothing_to_follow(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    standing = measured(Brightness(levels=255), it=attack(name))["it"]
    assert standing > 24  # too many: what is true is 24
    (said,) = told(caplog)
    assert f"it: {standing} of {standing} images (of the {standing} left standing)" in said
    assert "a layer lets none through" in said
    assert "attack=square" in said


def test_only_what_climbs_the_cross_entropy_is_blind_where_the_softmax_is_saturated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Brightness(scale=1e5)
    standing = measured(network, ce=attack("pgd"), margin=attack("pgd", loss="margin"))
    assert standing["margin"] == 24 < standing["ce"]
    (said,) = told(caplog)
    assert said.startswith(f"ce: {standing['ce']} of {standing['ce']} images")
    assert "the softmax is saturated" in said


@pytest.mark.parametrize("name", ["square", "gaussian_noise"])
def test_an_attack_that_follows_none_is_not_spoken_of(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = {"queries": 20} if name == "square" else {}
    measured(Brightness(levels=255), it=attack(name, **keys))
    assert told(caplog) == []


def test_a_network_with_one_answer_for_all_images_is_as_robust_as_it_seems(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert measured(Constant(), it=attack("pgd")) == {"it": 20}  # all that are of its class
    assert told(caplog) == []


class Noisy(Brightness):
    """It draws a number for each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.rand_like(x) * 1e-3 + x)


def test_looking_leaves_random_numbers_and_the_mode_as_they_were(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Noisy(levels=255).train()
    subject = Subject(SearchNetworks(network, network), TensorImages(GREY, BRIGHT), 2)
    before = torch.get_rng_state()
    setting = Setting(0, 8, torch.device("cpu"))
    warn_of_lost(attack("pgd"), "it", np.arange(40) > 0, subject, setting)
    assert torch.equal(torch.get_rng_state(), before)
    assert network.training
    (said,) = told(caplog)
    assert "8 of 8 images (of the 39 left standing)" in said  # no larger batch than is asked for
