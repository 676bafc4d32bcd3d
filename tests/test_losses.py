"""Losses of logits, against the papers' formulas."""

import pytest
import torch
import torch.nn.functional as F

from robustrun.losses import dlr, dlr_targeted, kl_divergence, margin, scaled_cross_entropy


def test_dlr_is_the_papers_ratio_and_does_not_feel_scale_or_shift() -> None:
    logits, y = torch.tensor([[4.0, 1.0, 3.0, 0.0], [4.0, 1.0, 3.0, 0.0]]), torch.tensor([0, 2])
    assert torch.allclose(dlr(logits, y), torch.tensor([(3 - 4) / (4 - 1), (4 - 3) / (4 - 1)]))
    target = torch.tensor([1, 3])
    expected = torch.tensor([(1 - 4) / (4 - 0.5), (0 - 3) / (4 - 0.5)])
    assert torch.allclose(dlr_targeted(logits, y, target), expected)
    assert torch.allclose(dlr(5 * logits + 2, y), dlr(logits, y))
    assert torch.allclose(dlr_targeted(5 * logits + 2, y, target), expected)


def test_divergence_is_the_sum_over_classes_and_the_mean_over_images() -> None:
    clean, adversarial = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4).double()
    p, q = clean.softmax(dim=1), adversarial.softmax(dim=1)
    expected = (p * (p / q).log()).sum() / 5
    torch.testing.assert_close(kl_divergence(clean, adversarial), expected)
    assert kl_divergence(clean, clean).abs() < 1e-12  # rounding in float64


def test_divergence_has_a_slope_in_both_arguments() -> None:
    clean, adversarial = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in "ab")
    assert torch.autograd.gradcheck(kl_divergence, (clean, adversarial))


def test_the_margin_is_the_largest_wrong_logit_minus_the_right_one() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0], [0.0, 2.0, 5.0], [1.0, 1.0, 1.0]])
    assert margin(logits, torch.tensor([0, 1, 2])).tolist() == [-1.0, 3.0, 0.0]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_scaled_cross_entropy_sees_a_margin_of_one_whatever_the_scale(scale: float) -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0], [0.0, 2.0, 5.0]])  # margins -1 and 3
    y = torch.tensor([0, 1])
    expected = F.cross_entropy(torch.tensor([[4.0, 1, 3], [0, 2 / 3, 5 / 3]]), y, reduction="none")
    torch.testing.assert_close(scaled_cross_entropy(scale * logits, y), expected)
    at = (scale * logits).requires_grad_()
    (slope,) = torch.autograd.grad(scaled_cross_entropy(at, y).sum(), at)
    # The margin counts as a constant: the slope is cross-entropy's at the scaled logits, scaled.
    right = torch.tensor([[1.0], [1 / 3]]) * (
        torch.tensor([[4.0, 1, 3], [0, 2 / 3, 5 / 3]]).softmax(dim=1) - F.one_hot(y, 3)
    )
    torch.testing.assert_close(slope * scale, right)


def test_scaled_cross_entropy_of_equal_logits_is_finite() -> None:
    logits = torch.ones(1, 3, requires_grad=True)
    loss = scaled_cross_entropy(logits, torch.tensor([0]))
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all()
    assert slope.isfinite().all()
