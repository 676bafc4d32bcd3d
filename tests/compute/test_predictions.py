"""What logits say: a class, or no answer."""

import math

import pytest
import torch

from robustrun.compute.predictions import NO_ANSWER, REPEATABLE, logit_difference, predicted

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("logits", "answer"),
    [
        ([0.0, 3.0, 2.0], 1),
        ([-5.0, -9.0, -7.0], 0),
        ([NAN, 3.0, 2.0], NO_ANSWER),
        ([0.0, NAN, NAN], NO_ANSWER),
        ([0.0, INF, 2.0], NO_ANSWER),  # the largest all the same
        ([0.0, -INF, 2.0], NO_ANSWER),
    ],
)
def test_an_image_is_the_class_of_its_largest_logit_or_has_no_answer(
    logits: list[float], answer: int
) -> None:
    beside = [1.0, 0.0, 0.0]  # another image of the batch keeps its own answer
    found = predicted(torch.tensor([logits, beside]))
    assert found.tolist() == [answer, 0]
    assert found.dtype == torch.int64


def test_no_answer_is_no_class() -> None:
    assert NO_ANSWER < 0
    assert predicted(torch.zeros(0, 3)).shape == (0,)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], 0.0),
        ([[1.0, 2.5]], [[1.0, 2.0]], 0.25),  # of the largest of the second
        ([[1.0, 2.0], [3.0, -8.0]], [[1.0, 2.0], [3.0, -10.0]], 0.2),
        ([[0.0, 0.0]], [[0.0, 0.0]], 0.0),
        ([[NAN, 2.0]], [[NAN, 2.0]], 0.0),  # no number in either
        ([[NAN, 2.0]], [[INF, 1.0]], 1.0),
        ([[NAN, 2.0]], [[1.0, 2.0]], INF),
        ([[1.0, 2.0]], [[1.0, INF]], INF),
    ],
)
def test_logits_differ_by_a_share_of_the_largest(
    one: list[list[float]], other: list[list[float]], expected: float
) -> None:
    assert logit_difference(torch.tensor(one), torch.tensor(other)) == pytest.approx(expected)


def test_sums_in_another_order_count_as_the_same_logits_and_noise_does_not() -> None:
    x, weight = torch.rand(8, 1000), torch.randn(1000, 10)
    logits = x @ weight
    backwards = x.flip(1) @ weight.flip(0)
    assert 0 < logit_difference(backwards, logits) < REPEATABLE
    noisy = (x + 0.2 * torch.rand_like(x)) @ weight
    assert logit_difference(noisy, logits) > REPEATABLE
