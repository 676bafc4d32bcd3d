"""The section of report.html about a search."""

from dataclasses import replace
from pathlib import Path

import pytest

from robustrun.report import search_section, study
from robustrun.report.study import StudyRecord, StudyTrial


def trial(run: int, values: list[float], best: bool, state: str = "complete") -> StudyTrial:
    parameters: dict[str, str | float | bool | None] = {"method.beta": run + 0.25}
    return StudyTrial(run, str(run), state, values, parameters, best, f"robustrun seed={run}")


TRIALS = [
    trial(0, [0.9, 0.2], True),
    trial(1, [0.5, 0.6], True),
    trial(2, [0.5, 0.4], False),
    trial(3, [], False, "fail"),
]
BOTH = StudyRecord(
    "s",
    None,
    "maximize",
    ["validation_clean_accuracy", "validation_robust_accuracy"],
    "tpe",
    "none",
    4,
    TRIALS,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    study.write(tmp_path, BOTH)
    assert study.read(tmp_path) == BOTH
    (tmp_path / study.STUDY).write_text("{")
    assert study.read(tmp_path) is None


@pytest.mark.parametrize("inner", ["", "0"])
def test_a_search_is_found_from_its_runs_also_where_they_are_spread(
    tmp_path: Path, inner: str
) -> None:
    study.write(tmp_path, BOTH)
    (section,) = search_section.sections([tmp_path / inner / "3", tmp_path / inner / "4"])
    assert [[cell.text for cell in row.cells] for row in section.table.rows] == [
        ["0", "Pareto front", "90.00", "20.00", "0.25"],
        ["1", "Pareto front", "50.00", "60.00", "1.25"],
        ["2", "complete", "50.00", "40.00", "2.25"],
        ["3", "fail", "-", "-", "3.25"],
    ]
    assert search_section.sections([tmp_path / "other" / "sweep" / "0"]) == []


def test_the_picture_goes_from_the_least_to_the_most_of_each_objective() -> None:
    picture = search_section.picture(BOTH)
    assert picture is not None
    assert (picture.x_ends, picture.y_ends) == (("50.0%", "90.0%"), ("20.0%", "60.0%"))
    assert {(p.title[:5], round(p.x, 9), round(p.y, 9), p.best) for p in picture.points} == {
        ("run 0", 400.0, 280.0, True),
        ("run 1", 40.0, 40.0, True),
        ("run 2", 40.0, 160.0, False),
    }


def test_one_trial_is_in_the_middle_and_none_is_no_picture() -> None:
    picture = search_section.picture(replace(BOTH, trials=TRIALS[:1]))
    assert picture is not None
    assert [(point.x, point.y) for point in picture.points] == [(220.0, 160.0)]
    assert search_section.picture(replace(BOTH, trials=TRIALS[3:])) is None


def test_of_many_that_are_equal_the_first_are_shown() -> None:
    ties = replace(
        BOTH, objectives=BOTH.objectives[:1], trials=[trial(n, [0.5], True) for n in range(13)]
    )
    table, more, command = study.findings(ties)
    assert isinstance(table, study.Table)
    assert len(table.rows) == 10
    assert more == "3 more are in study.json"
    assert command == "to train with it: robustrun seed=0"
    assert study.findings(replace(BOTH, trials=TRIALS[3:])) == [
        "no trial of this search is complete"
    ]
