"""MLflow."""

import sys
from pathlib import Path
from unittest.mock import Mock, call

import pytest

from robustrun.errors import ConfigError
from robustrun.trackers.mlflow import MLflow
from trackers.tracked_run import CONFIG, RESULTS, row


@pytest.mark.filterwarnings("ignore")  # MLflow's own, about its database library
def test_mlflow_has_config_epochs_results_figures_and_model(folder: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install robustrun[mlflow]")
    uri = f"sqlite:///{tmp_path}/store/mlflow.db"
    tracker = MLflow(uri, "robustrun")
    killed = tracker.start(folder, CONFIG)
    for epoch in (1, 2):
        killed.epoch(row(epoch))
    resumed = tracker.start(folder, CONFIG)  # the same run there
    resumed.epoch(row(3))
    resumed.finish(RESULTS)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("robustrun")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.params["method.beta"]) == ("FINISHED", "6.0")
    assert run.data.metrics["final/pgd"] == 0.75
    history = client.get_metric_history(run.info.run_id, "epoch/train_loss")
    assert [point.step for point in history] == [1, 2, 3]
    kept = {
        file.path
        for part in ("model", "figures")
        for file in client.list_artifacts(run.info.run_id, part)
    }
    assert kept >= {"model/model.safetensors", "figures/training.png"}


def test_mlflow_in_a_plain_folder_is_refused_with_what_is_right() -> None:
    with pytest.raises(ConfigError, match="sqlite:///"):
        MLflow("outputs/mlruns", "robustrun")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """That of a stand-in for the package, which need not be installed."""
    mlflow = Mock()
    client: Mock = mlflow.MlflowClient.return_value
    client.create_run.return_value.info.run_id = "abc"
    client.create_experiment.return_value = 7
    client.get_experiment_by_name.return_value = None
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return client


def test_a_new_run_is_made_in_its_experiment_with_every_key(
    folder: Path, tmp_path: Path, client: Mock
) -> None:
    MLflow(f"sqlite:///{tmp_path}/store/mlflow.db", "mine").start(folder, CONFIG)
    assert (tmp_path / "store").is_dir()
    beside = (tmp_path / "store" / "mlflow_artifacts").as_uri()
    client.create_experiment.assert_called_once_with("mine", artifact_location=beside)
    client.create_run.assert_called_once_with("7", run_name=folder.name)
    given = {one.args[1]: one.args[2] for one in client.log_param.call_args_list}
    assert given["seed"] == "3"
    assert given["method.beta"] == "6.0"
    assert all(one.args[0] == "abc" for one in client.log_param.call_args_list)


def test_a_resumed_run_goes_on_with_its_own_and_a_server_keeps_its_files(
    folder: Path, client: Mock
) -> None:
    client.get_experiment_by_name.return_value = Mock(experiment_id=4)
    tracker = MLflow("https://mlflow.example", "mine")
    tracker.start(folder, CONFIG | {"note": "x" * 600})
    client.create_run.assert_called_once_with("4", run_name=folder.name)
    client.create_experiment.assert_not_called()
    assert call("abc", "note", "x" * 500) in client.log_param.call_args_list
    assert tracker.start(folder, CONFIG).run_id == "abc"
    client.create_run.assert_called_once()
    client.update_run.assert_called_once_with("abc", status="RUNNING")
    client.get_experiment_by_name.return_value = None
    MLflow("https://mlflow.example", "other")._experiment(client)
    client.create_experiment.assert_called_once_with("other", artifact_location=None)


@pytest.mark.parametrize(
    ("status", "ended"),
    [("completed", "FINISHED"), ("interrupted", "KILLED"), ("failed", "FAILED")],
)
def test_epochs_accuracies_and_files_are_sent_and_how_the_run_ended(
    folder: Path, client: Mock, status: str, ended: str
) -> None:
    run = MLflow("https://mlflow.example", "mine").start(folder, CONFIG)
    run.epoch(row(2))
    run.finish(RESULTS | {"run": {"status": status, "seconds": 2.5}})
    sent = client.log_metric.call_args_list
    assert sent[:2] == [
        call("abc", "epoch/step", 20.0, step=2),
        call("abc", "epoch/train_loss", 0.5, step=2),
    ]
    assert sent[2:] == [
        call("abc", "final/seconds", 2.5),
        *(call("abc", f"final/{name}", 0.75) for name in ("clean", "worst_case", "pgd")),
    ]
    kept = ("model.safetensors", "MODEL_CARD.md", "results.json")
    assert client.log_artifact.call_args_list == [
        call("abc", str(folder / "figures" / "training.png"), "figures"),
        *(call("abc", str(folder / name), "model") for name in kept),
    ]
    client.set_terminated.assert_called_once_with("abc", ended)
