"""What an evaluation found."""

import numpy as np

from evaluation.grey_images import measured, pgd


def test_the_worst_case_counts_each_example_once() -> None:
    found = measured({"pgd": pgd()}, [0.45, 0.3], [0, 0])
    found.attacks["other"] = found.attacks["pgd"].__class__(
        "other",
        "pgd",
        "linf",
        0.1,
        {},
        np.array([True, False]),
        None,
        [],
        0.0,
        np.zeros(2, dtype=bool),
    )
    assert found.worst_case.tolist() == [False, False]
