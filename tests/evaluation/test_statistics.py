"""Accuracies and their intervals, against published ones."""

import numpy as np
import pytest

from robustrun.evaluation.statistics import per_class, wilson


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998 (doi 10.1002/(SICI)1097-0258(19980430)17:8<857), table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_accuracy_per_class_leaves_out_classes_without_examples() -> None:
    right, labels = np.array([True, False, True]), np.array([0, 0, 2])
    assert per_class(right, labels, 3) == [0.5, None, 1.0]
