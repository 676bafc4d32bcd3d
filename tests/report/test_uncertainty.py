"""Intervals over seeds and images cover what they say; a table's bold follows them."""

import math

import numpy as np
import pytest

from robustrun.evaluation.statistics import wilson
from robustrun.report import compare, uncertainty

SHIFT = 0.3  # by which B is better, in standard deviations of one answer


def answers(
    rng: np.random.Generator, seeds: int, images: int, of_seeds: float, of_images: float
) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong answers of two methods, (seeds, images): an image is easy or hard for both, a
    seed good or bad for both and for each, and each answer has luck of its own."""
    easy = rng.normal(0, of_images, images)
    shared, *own = rng.normal(0, of_seeds, (3, seeds, 1))
    luck = rng.normal(0, 1, (2, seeds, images))
    return easy + shared + own[0] + luck[0] > 0, easy + shared + own[1] + luck[1] + SHIFT > 0


def accuracy_of_b(of_seeds: float, of_images: float) -> float:
    """Its expectation; A's is 1/2."""
    deviation = math.sqrt(1 + of_images**2 + 2 * of_seeds**2)
    return (1 + math.erf(SHIFT / deviation / math.sqrt(2))) / 2


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("of_seeds", "of_images"), [(0.0, 1.0), (0.1, 2.0), (0.3, 1.0), (0.3, 0.0), (1.0, 1.0)]
)
def test_intervals_over_seeds_and_images_cover_at_least_as_often_as_they_say(
    seeds: int, paired: bool, of_seeds: float, of_images: float
) -> None:
    rng = np.random.default_rng(0)
    b = accuracy_of_b(of_seeds, of_images)
    covered = []
    for _ in range(500):
        one, other = answers(rng, seeds, 200, of_seeds, of_images)
        low, high = uncertainty.of_difference(one, other, paired)
        lowest, highest = uncertainty.of_accuracy(list(other.mean(1)), 200)
        covered.append((low <= b - 0.5 <= high, lowest <= b <= highest))
    # 500 draws of 95% have a standard deviation of 1 point; three of them below are allowed.
    assert np.mean(covered, axis=0).min() >= 0.92


def test_neither_images_alone_nor_seeds_alone_would_cover() -> None:
    """Why both: McNemar's interval of one pair says nothing of seeds, the spread of seeds on the
    same images nothing of other images."""
    rng = np.random.default_rng(0)
    truth = accuracy_of_b(0.5, 0.0) - 0.5
    images_alone, seeds_alone = [], []
    for _ in range(300):
        one, other = answers(rng, 3, 200, 0.5, 0.0)
        only = int((one[0] & ~other[0]).sum()), int((other[0] & ~one[0]).sum())
        low, high = compare.interval(*only, 200)
        images_alone.append(low <= truth <= high)
        one, other = answers(rng, 5, 200, 0.0, 2.0)
        half = math.sqrt(uncertainty.seeds_part(other.mean(1)))
        seeds_alone.append(abs(other.mean() - accuracy_of_b(0.0, 2.0)) <= half)
    assert np.mean(images_alone) < 0.7
    assert np.mean(seeds_alone) < 0.8


def test_the_images_part_is_what_two_networks_have_where_all_seeds_agree() -> None:
    one, other = np.zeros((2, 3, 50), bool)
    one[:, :20], other[:, 10:40] = True, True
    expected = compare.interval(10, 20, 50)
    assert uncertainty.of_difference(one, other, paired=True) == pytest.approx(expected)
    assert uncertainty.of_accuracy([0.4] * 3, 50) == pytest.approx(wilson(20, 50))
    assert uncertainty.of_accuracy([0.4], 50) == pytest.approx(wilson(20, 50))
    assert uncertainty.of_accuracy([1.0, 1.0], 50) == pytest.approx(wilson(50, 50))


def test_an_interval_is_never_without_width_and_never_beyond_all() -> None:
    same = np.ones((2, 30), bool)
    low, high = uncertainty.of_difference(same, same, paired=True)
    assert low < 0 < high
    low, high = uncertainty.of_accuracy([0.0, 1.0], 30)
    assert (low, high) == pytest.approx((0, 1), abs=0.03)


@pytest.mark.parametrize(  # from any table of Student's distribution
    ("degrees", "quantile"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (9, 2.2622), (99, 1.9842)]
)
def test_students_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert uncertainty.student(degrees) == pytest.approx(quantile, abs=1e-4)


@pytest.mark.parametrize(("other", "tie"), [(51, True), (38, True), (37, False), (10, False)])
def test_two_accuracies_tie_within_newcombes_interval(other: int, tie: bool) -> None:
    """51 and 37 of 100 differ by 14 points, with an interval from 0.3 to 27.0."""
    (low, _), (_, high) = wilson(51, 100), wilson(other, 100)
    assert uncertainty.beyond(0.51, low, other / 100, high) != tie
