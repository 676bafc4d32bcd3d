"""Wrong classes to aim at, and what few classes leave of a targeted attack."""

import pytest
import torch
from torch import nn

from attacks.small_attacks import attack
from robustrun.attacks.search.targets import settings_for, top_wrong_classes


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [[2], [1]]), (2, [[2, 0], [1, 2]]), (9, [[2, 0], [1, 2]])]
)
def test_the_largest_wrong_logits_are_aimed_at(count: int, expected: list[list[int]]) -> None:
    logits = torch.tensor([[1.0, 9.0, 2.0], [7.0, 3.0, -1.0]])
    aims = top_wrong_classes(nn.Identity(), logits, torch.tensor([1, 0]), count)
    assert aims.tolist() == expected


@pytest.mark.parametrize(
    ("classes", "targets", "instead"),
    [
        (10, 9, None),
        (11, 9, None),
        (9, 8, "9 classes: 8 target classes instead of 9"),
        (2, 1, "2 classes: 1 target classes instead of 9"),
    ],
)
def test_there_are_as_many_targets_as_wrong_classes(
    classes: int, targets: int, instead: str | None
) -> None:
    fab = attack("fab_t", "linf")
    settings = fab.effective_settings(classes)
    assert settings["targets"] == targets
    assert settings.get("instead") == instead
    assert settings["eta"] == fab.eta


def test_a_substitute_is_named_after_the_targets() -> None:
    settings = settings_for(attack("fab_t", "linf"), 3, {"eta": (2.0, "twice the way")})
    assert settings["eta"] == 2.0
    assert settings["instead"] == "3 classes: 2 target classes instead of 9, twice the way"
