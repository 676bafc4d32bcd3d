"""Accuracies and their intervals, against published ones."""

import numpy as np
import pytest
from scipy.stats import beta

from robustrun.evaluation.statistics import (
    accuracy,
    at_least,
    exact_interval,
    lower_bound,
    per_class,
    wilson,
)


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998 (doi 10.1002/(SICI)1097-0258(19980430)17:8<857), table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_wilsons_interval_never_leaves_what_a_share_can_be() -> None:
    """Also where rounding would take it below 0 or above 1."""
    for total in range(1, 200):
        assert wilson(0, total)[0] >= 0.0
        assert wilson(total, total)[1] <= 1.0


def test_accuracy_per_class_leaves_out_classes_without_examples() -> None:
    right, labels = np.array([True, False, True]), np.array([0, 0, 2])
    assert per_class(right, labels, 3) == [0.5, None, 1.0]


@pytest.mark.parametrize(
    ("successes", "trials", "share", "expected"),
    [
        (0, 5, 0.5, 1.0),
        (5, 5, 0.5, 1 / 32),
        (8, 10, 0.5, 56 / 1024),
        (1, 3, 0.25, 1 - 27 / 64),
        (2, 2, 0.1, 0.01),
        (6, 5, 0.5, 0.0),
        (2, 4, 0.0, 0.0),
        (4, 4, 1.0, 1.0),
        (0, 0, 0.5, 1.0),
    ],
)
def test_the_tail_of_the_binomial_is_exact(
    successes: int, trials: int, share: float, expected: float
) -> None:
    assert at_least(successes, trials, share) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),  # Clopper and Pearson's own: 1 - 0.025 ** (1 / 10)
        (10, 10, 0.6915, 1.0),
        (0, 0, 0.0, 1.0),
        (1, 1, 0.025, 1.0),
        (5, 10, 0.1871, 0.8129),
    ],
)
def test_the_exact_interval_of_a_share(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert exact_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_where_nothing_was_counted_any_share_is_possible() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert accuracy(np.zeros(0, dtype=bool)) == 0.0


@pytest.mark.parametrize("trials", [10, 1000, 100_000])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.502, 0.99, 1.0])
@pytest.mark.parametrize("level", [0.001, 0.025])
def test_the_lower_bound_of_a_share_is_a_quantile_of_the_beta_distribution(
    trials: int, share: float, level: float
) -> None:
    successes = int(share * trials)
    exact = beta.ppf(level, successes, trials - successes + 1) if successes else 0.0
    bound = lower_bound(successes, trials, level)
    # It stops at intervals of 1e-9; logarithms of factorials of 100,000 carry 1e-10 of a share.
    assert bound == pytest.approx(exact, abs=1.2e-9)
