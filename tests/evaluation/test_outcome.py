"""What an evaluation found."""

from dataclasses import replace

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


def test_an_evaluation_is_shown_as_a_table() -> None:
    found = measured({"pgd": pgd()}, [0.45, 0.3, 0.7, 0.9], [0, 0, 1, 0])
    names = [line.split("  ")[0] for line in repr(found).splitlines()[2:]]
    assert names == ["clean", "pgd", "worst case"]
    assert "linf 0.1    50.00%" in repr(found)
    alone = replace(found, attacks={})
    assert [line.split()[0] for line in repr(alone).splitlines()[2:]] == ["clean"]
