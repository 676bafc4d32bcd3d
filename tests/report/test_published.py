"""Published numbers stand beside runs of their threat model."""

from pathlib import Path
from typing import Any

import pytest
import run_folders

from robustrun.report import collect, published


def test_published_numbers_say_that_a_part_of_the_test_set_is_something_else() -> None:
    whole, part, tailed = (run_folders.results("trades", 0, 90, 50) for _ in range(3))
    run_folders.fewer_images(part)
    run_folders.long_tail(tailed)
    runs = [
        collect.StoredRun(Path(), run_folders.record(results)) for results in (whole, part, tailed)
    ]
    assert "part of the test set" not in str(published.lines(runs[:1]))
    assert "1 of the 2 runs here measured a part of the" in published.lines(runs[:2])[-1]
    assert published.lines(runs[2:]) == []  # another data set than the published one


@pytest.mark.parametrize("part", [{"fraction": 0.5}, {"classes": ["cat", "dog"]}])
def test_no_published_number_stands_beside_a_part_of_a_data_set(part: dict[str, Any]) -> None:
    results = run_folders.results("trades", 0, 90, 50)
    whole = collect.StoredRun(Path(), run_folders.record(results))
    assert published.lines([whole])
    results["config"]["dataset"] |= part
    assert published.lines([collect.StoredRun(Path(), run_folders.record(results))]) == []
