"""The table of an evaluation, character by character."""

import numpy as np

from robustrun.evaluation.table import as_table


def test_names_stand_left_and_numbers_right_below_their_heads() -> None:
    half, none = np.array([True, False, True, False]), np.zeros(4, dtype=bool)
    rows = [("clean", "", half), ("a long name of an attack", "linf 0.03137", none)]
    assert as_table(rows).splitlines() == [
        "measured with                   radius  accuracy  95% interval  correct",
        "-----------------------------------------------------------------------",
        "clean                                     50.00%    15.0-85.0%      2/4",
        "a long name of an attack  linf 0.03137     0.00%     0.0-49.0%      0/4",
    ]


def test_where_nothing_was_measured_the_interval_is_everything() -> None:
    (*_, row) = as_table([("clean", "", np.zeros(0, dtype=bool))]).splitlines()
    assert row.split() == ["clean", "0.00%", "0.0-100.0%", "0/0"]
