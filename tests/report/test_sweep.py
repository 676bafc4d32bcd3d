"""What a reader of a sweep's table would not see is said; of thousands of runs, of the first."""

from pathlib import Path

import pytest
import run_folders

from robustrun.report import sweep


@pytest.mark.parametrize(("number", "lines"), [(3, 3), (50, 50), (51, 51), (60, 51)])
def test_what_many_runs_lack_is_said_of_the_first(number: int, lines: int, tmp_path: Path) -> None:
    runs = []
    for place in range(number):
        results = run_folders.results("trades", place, 90, 50)
        results["run"]["lost"] = {"figures/training.png": "OSError: no"}
        run_folders.written(tmp_path / str(place), results)
        runs.append((tmp_path / str(place), {"seed": str(place)}))
    remarks = sweep.remarks(runs)
    assert len(remarks) == lines
    assert remarks[1] == "1: not made: figures/training.png (OSError: no)"
    more = [f"and {number - 50} more of these"] if number > 50 else []
    assert remarks[50:] == more


def test_runs_that_do_the_same_are_named(tmp_path: Path) -> None:
    runs = []
    for place, beta in enumerate(("1", "1", "2")):
        results = run_folders.results("trades", 0, 90, 50, recipe={"beta": beta})
        run_folders.written(tmp_path / str(place), results)
        runs.append((tmp_path / str(place), {"recipe.beta": beta}))
    (remark,) = sweep.remarks(runs)
    assert remark.startswith("0 and 2 are the same run: recipe.beta changes nothing")
