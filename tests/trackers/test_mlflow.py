"""MLflow."""

from pathlib import Path

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
