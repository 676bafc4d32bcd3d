"""Weights & Biases, https://docs.wandb.ai."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from robustrun.trackers.contents import final, model, numbers, package, pictures
from robustrun.types import TRACKERS


class WeightsAndBiasesRun:
    """One open run of W&B."""

    def __init__(self, wandb: ModuleType, run: Any, folder: Path) -> None:
        self.wandb, self.run, self.folder = wandb, run, folder

    def epoch(self, row: dict[str, Any]) -> None:
        self.run.log(numbers(row), step=row["epoch"])

    def finish(self, results: dict[str, Any]) -> None:
        try:
            self.run.summary.update(final(results))
            images = {path.stem: self.wandb.Image(str(path)) for path in pictures(self.folder)}
            if images:
                self.run.log({f"figures/{name}": image for name, image in images.items()})
            artifact = self.wandb.Artifact(f"model-{self.run.id}", type="model")
            for path in model(self.folder):
                artifact.add_file(str(path))
            self.run.log_artifact(artifact)
        finally:
            completed = results["run"]["status"] == "completed"
            self.run.finish(exit_code=0 if completed else 1)


@TRACKERS.register("wandb")
@dataclass(frozen=True)
class WeightsAndBiases:
    """Sends a run to a W&B project, or with `mode=offline` keeps it in the run's folder, from
    where `wandb sync FOLDER/wandb/offline-run-*` sends it later."""

    project: str
    entity: str | None
    mode: Literal["online", "offline"]

    def start(self, folder: Path, config: dict[str, Any]) -> WeightsAndBiasesRun:
        wandb = package("wandb", "wandb")
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=str(folder),
            name=folder.name,
            # The same folder is the same run: one that is resumed continues where it was.
            id=hashlib.sha256(str(folder).encode()).hexdigest()[:16],
            resume="allow",
            config=config,
            settings=wandb.Settings(silent=True, console="off"),
        )
        return WeightsAndBiasesRun(wandb, run, folder)
