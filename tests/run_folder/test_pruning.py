"""A run tells its trial each epoch's number; a study that is lost costs the run nothing."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from robustrun.run_folder import pruning
from robustrun.run_folder.pruning import Pruner, Pruning, Trial
from robustrun.storage import studies
from robustrun.training.metrics import EpochMetrics

optuna = pytest.importorskip("optuna", reason="robustrun[search] is not installed")
OBJECTIVE = "validation_robust_accuracy"
MEDIAN = Pruner("median", trials=1, after=1, epochs=9)


def row(epoch: int, robust: float | None) -> EpochMetrics:
    return EpochMetrics(epoch, epoch, 0.1, 1.0, None, None, robust, 1.0)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """Of a study in which a trial with 50% after its first epoch is complete."""
    place = str(tmp_path / "study.journal")
    storage = studies.open_storage(place)
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    first = study.ask()
    first.report(0.5, 1)
    study.tell(first, 0.5)
    return Trial(place, "s", study.ask().number, OBJECTIVE, MEDIAN)


def opened(trial: Trial) -> "optuna.Study":
    return optuna.load_study(study_name="s", storage=studies.open_storage(trial.storage))


@pytest.mark.parametrize(("robust", "stops"), [(0.4, True), (0.6, False), (None, False)])
def test_a_training_ends_where_it_is_below_the_median(
    tmp_path: Path, trial: Trial, robust: float | None, stops: bool
) -> None:
    pruning.write(tmp_path / "run", trial)
    pruner = Pruning(tmp_path / "run", 9)
    assert pruner.stops([]) is False
    assert pruner.stops([row(1, robust)]) is stops
    assert pruner.stops([row(1, robust)]) is stops, "told again after a kill"
    assert (pruner.reason is not None) is stops
    told = opened(trial).trials[1].intermediate_values
    assert told == ({} if robust is None else {1: robust})


def test_a_run_outside_of_a_search_is_left_alone(tmp_path: Path) -> None:
    assert Pruning(tmp_path, 9).stops([row(1, 0.0)]) is False


def test_a_trial_that_has_ended_is_told_nothing(tmp_path: Path, trial: Trial) -> None:
    pruning.write(tmp_path / "run", trial)
    opened(trial).tell(1, state=optuna.trial.TrialState.FAIL)
    assert Pruning(tmp_path / "run", 9).stops([row(1, 0.0)]) is False
    assert opened(trial).trials[1].intermediate_values == {}


def test_a_study_that_is_away_costs_a_warning(
    tmp_path: Path, trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    pruning.write(tmp_path / "run", replace(trial, storage=str(tmp_path / "away" / "journal")))
    pruner = Pruning(tmp_path / "run", 9)
    with caplog.at_level(logging.WARNING):
        assert pruner.stops([row(1, 0.0)]) is False
        assert pruner.stops([row(2, 0.0)]) is False
    assert caplog.text.count("not pruned from here on") == 1


def test_a_damaged_file_costs_a_warning(
    tmp_path: Path, trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    pruning.write(tmp_path / "run", trial)
    (tmp_path / "run" / "checkpoint" / "trial.json").write_text('{"storage": 1}')
    with caplog.at_level(logging.WARNING):
        assert Pruning(tmp_path / "run", 9).stops([row(1, 0.0)]) is False
    assert "trial.json is damaged" in caplog.text


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("none", "NopPruner"),
        ("median", "MedianPruner"),
        ("hyperband", "HyperbandPruner"),
        ("halving", "SuccessiveHalvingPruner"),
    ],
)
def test_each_name_is_a_pruner_of_optuna(name: str, kind: str) -> None:
    pruner = replace(MEDIAN, name=name)  # type: ignore[arg-type]
    assert type(pruner.build()).__name__ == kind
