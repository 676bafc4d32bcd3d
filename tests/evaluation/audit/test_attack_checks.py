"""Weak attacks and too few images are flagged."""

import dataclasses

import pytest
import torch
from torch import nn

from evaluation.audit.small_audits import JUDGE, QUICK, SETTINGS, audited, configuration, failed
from robustrun.types import Images


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["attack=fgsm"], "more_effort"),
        (["attack.steps=1", "attack.step_size=0.01"], "more_effort"),
        (["attack.steps=2", "attack.step_size=1e-4", "attack.random_start=false"], "one_step"),
        (["attack=gaussian_noise"], "adversary"),
    ],
)
def test_a_weak_attack_is_flagged(
    words: list[str], expected: str, standard: nn.Module, test_images: Images
) -> None:
    # As many images as users get: FGSM's 5 of 100 could be luck (p = 0.051), its share of 200 not.
    settings = dataclasses.replace(QUICK, examples=SETTINGS.examples)
    found = audited(standard, test_images, configuration(*words).attack, settings)
    assert expected in failed(found)


@pytest.mark.parametrize(("examples", "status"), [(1, "warn"), (182, "warn"), (183, "pass")])
def test_too_few_images_for_a_pass_to_mean_something_are_told(
    examples: int, status: str, standard: nn.Module, test_images: Images
) -> None:
    """With 183 images, 0.98 ** 183 = 2.48% is the chance that none of 2% is among them."""
    chosen = test_images.subset(torch.arange(examples))
    settings = dataclasses.replace(QUICK, examples=None, steps=1, surrogate_steps=1)
    check = audited(standard, chosen, JUDGE, settings)["enough_images"]
    assert (check.status, check.measured) == (status, examples)
