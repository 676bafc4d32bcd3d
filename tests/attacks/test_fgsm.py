"""FGSM: one step."""

import torch

from attacks.small_networks import (
    two_classes,
)
from robustrun.attacks.fgsm import FGSM


def test_fgsm_is_one_step_along_the_sign_of_the_gradient() -> None:
    model, x, y, _, slope = two_classes()
    found = FGSM("linf", 0.01)(model, x, y)
    towards_one = torch.where(y == 0, 1.0, -1.0).view(-1, 1)
    expected = x.flatten(1) + 0.01 * towards_one * slope.sign()
    torch.testing.assert_close(found.flatten(1), expected.clamp(0, 1))
