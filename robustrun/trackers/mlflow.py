"""MLflow, https://mlflow.org/docs/latest/tracking; a plain folder as a store is no longer taken."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustrun.errors import require
from robustrun.storage.files import flat
from robustrun.trackers.contents import final, model, numbers, package, pictures
from robustrun.types import TRACKERS

SQLITE = "sqlite:///"
RUN_ID = "mlflow_run_id.txt"  # in the run's folder, so that a resumed run continues with its own
LONGEST = 500  # characters of a parameter, which MLflow limits
ENDED = {"completed": "FINISHED", "interrupted": "KILLED"}


class MLflowRun:
    """One run of an MLflow store."""

    def __init__(self, client: Any, run_id: str, folder: Path) -> None:
        self.client, self.run_id, self.folder = client, run_id, folder

    def epoch(self, row: dict[str, Any]) -> None:
        for name, value in numbers(row).items():
            self.client.log_metric(self.run_id, name, value, step=row["epoch"])

    def finish(self, results: dict[str, Any]) -> None:
        for name, value in final(results).items():
            self.client.log_metric(self.run_id, name, value)
        for path in pictures(self.folder):
            self.client.log_artifact(self.run_id, str(path), "figures")
        for path in model(self.folder):
            self.client.log_artifact(self.run_id, str(path), "model")
        self.client.set_terminated(self.run_id, ENDED.get(results["run"]["status"], "FAILED"))


@TRACKERS.register("mlflow")
@dataclass(frozen=True)
class MLflow:
    """Records a run in an MLflow store: a database, or a server's address."""

    uri: str
    experiment: str

    def __post_init__(self) -> None:
        right = "a database (sqlite:///outputs/mlflow.db) or a server's address (https://...)"
        require("://" in self.uri and not self.uri.startswith("file:"), "uri", self.uri, right)

    def start(self, folder: Path, config: dict[str, Any]) -> MLflowRun:
        client, place = self._client(), folder / RUN_ID
        if place.exists():
            run_id = place.read_text(encoding="utf-8").strip()
            client.update_run(run_id, status="RUNNING")
        else:
            run_id = client.create_run(self._experiment(client), run_name=folder.name).info.run_id
            place.write_text(run_id, encoding="utf-8")
            for name, value in flat(config).items():
                client.log_param(run_id, name, str(value)[:LONGEST])
        return MLflowRun(client, run_id, folder)

    def _client(self) -> Any:
        mlflow = package("mlflow", "mlflow")
        if self.uri.startswith(SQLITE):
            Path(self.uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        return mlflow.MlflowClient(self.uri)

    def _experiment(self, client: Any) -> str:
        """The id of the experiment, made where it is missing; its files lie beside the database."""
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is not None:
            return str(experiment.experiment_id)
        place = None
        if self.uri.startswith(SQLITE):
            database = Path(self.uri.removeprefix(SQLITE)).resolve()
            place = (database.parent / "mlflow_artifacts").as_uri()
        return str(client.create_experiment(self.experiment, artifact_location=place))
