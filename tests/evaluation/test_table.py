"""The table of an evaluation, character by character."""

import numpy as np
import pytest

from robustrun.evaluation.table import as_table, as_text, level_ticks


def test_names_stand_left_and_numbers_right_below_their_heads() -> None:
    half, none = np.array([True, False, True, False]), np.zeros(4, dtype=bool)
    rows = [("clean", "", half), ("a long name of an attack", f"linf {as_text(8 / 255)}", none)]
    assert as_table(rows).splitlines() == [
        "measured with                 radius  accuracy  95% interval  correct",
        "---------------------------------------------------------------------",
        "clean                                   50.00%    15.0-85.0%      2/4",
        "a long name of an attack  linf 8/255     0.00%     0.0-49.0%      0/4",
    ]


def test_where_nothing_was_measured_the_interval_is_everything() -> None:
    (*_, row) = as_table([("clean", "", np.zeros(0, dtype=bool))]).splitlines()
    assert row.split() == ["clean", "0.00%", "0.0-100.0%", "0/0"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8 / 255, "8/255"),
        (0.5 / 255, "0.5/255"),
        (1 / 255, "1/255"),
        (128 / 255, "128/255"),  # a customary radius in l2
        (float(np.float32(8) / np.float32(255)), "8/255"),
        (0.1, "0.1"),  # 25.5/255
        (float(np.float32(0.1)), "0.1"),
        (0.2, "0.2"),  # 51/255
        (0.1 + 0.2, "0.3"),
        (0.031, "0.031"),  # 7.905/255
        (0.03137, "0.03137"),  # not 8/255 but what someone typed
        (0.0, "0"),
        (1e-7, "1e-07"),
        (6.0, "6"),
        (12.345678, "12.35"),
        (8 / 255 + 1e-6, "0.03137"),
    ],
)
def test_a_radius_is_shown_as_it_is_typed(value: float, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("levels", "ticks"),
    [
        ((0, 4, 8), (0, 2, 4, 6, 8)),
        ((0, 2, 8, 16), (0, 4, 8, 12, 16)),
        ((0, 0.5, 1), (0, 1)),
        ((0, 128, 256), (0, 64, 128, 192, 256)),
        ((0, 2.4, 8), ()),  # no level
        ((0, 25.5, 51), ()),  # 0.1 and 0.2
    ],
)
def test_an_axis_of_pixel_levels_has_ticks_at_some_of_them(
    levels: tuple[float, ...], ticks: tuple[int, ...]
) -> None:
    expected = {tick / 255: f"{tick}/255" if tick else "0" for tick in ticks}
    assert level_ticks([level / 255 for level in levels]) == expected
    assert level_ticks([]) == {}
