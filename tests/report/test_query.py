"""What `robustrun report` finds, keeps, orders and groups."""

from pathlib import Path

import pytest
import run_folders

from robustrun.errors import RobustrunError
from robustrun.report import collect, query


@pytest.fixture
def runs(tmp_path: Path) -> list[collect.StoredRun]:
    return collect.find_runs([run_folders.sweep(tmp_path / "sweep")])


def test_conditions_take_groups_numbers_fractions_and_comparisons(
    runs: list[collect.StoredRun],
) -> None:
    def kept(*conditions: str) -> list[str]:
        return [run.name for run in query.where(runs, conditions)]

    assert kept("method=trades", "seed=0,2") == ["3", "5"]
    assert kept("attack.epsilon=8/255", "worst_case>=0.5") == ["5"]
    assert kept("epsilon=0.031") == []  # near 8/255, and another radius
    assert query.resolve("name", ["model.name", "attack.name"], "--by") == "attack.name"
    assert kept("method.name!=trades") == ["0", "1", "2"]
    assert kept("status=failed") == []


def test_a_column_that_no_run_has_gives_the_nearest(runs: list[collect.StoredRun]) -> None:
    with pytest.raises(RobustrunError, match="Did you mean 'method'"):
        query.where(runs, ["metod=trades"])
    with pytest.raises(RobustrunError, match="worst_case"):
        query.ordered(runs, "worst_cas")
    with pytest.raises(RobustrunError, match="COLUMN=VALUE"):
        query.where(runs, ["method"])
    with pytest.raises(RobustrunError, match="not a number"):
        query.where(runs, ["clean>high"])


def test_the_best_accuracy_comes_first_and_the_smallest_of_the_rest(
    runs: list[collect.StoredRun],
) -> None:
    assert [run.name for run in query.ordered(runs, "worst_case")] == list("543210")
    assert [run.name for run in query.ordered(runs, "seed")] == list("031425")
    assert [run.name for run in query.ordered(runs, "seed", reverse=True)] == list("251403")


def test_a_share_may_be_asked_for_in_percent(tmp_path: Path) -> None:
    runs = collect.find_runs([run_folders.sweep(tmp_path / "sweep")])
    assert [run.name for run in query.where(runs, ["worst_case>=49%"])] == ["4", "5"]
