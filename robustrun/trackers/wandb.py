"""Weights & Biases, https://docs.wandb.ai."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from robustrun.trackers.contents import final, model, numbers, package, pictures
from robustrun.types import TRACKERS

_RUNS: dict[Path, Any] = {}  # the open runs, by folder: a tracker knows a run by its folder


@TRACKERS.register("wandb")
@dataclass(frozen=True)
class WeightsAndBiases:
    """Sends a run to a W&B project, or with `mode=offline` keeps it in the run's folder, from
    where `wandb sync FOLDER/wandb/offline-run-*` sends it later."""

    project: str
    entity: str | None
    mode: Literal["online", "offline"]

    def start(self, folder: Path, config: dict[str, Any]) -> None:
        wandb = package("wandb", "wandb")
        _RUNS[folder] = wandb.init(
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

    def epoch(self, folder: Path, row: dict[str, Any]) -> None:
        _RUNS[folder].log(numbers(row), step=row["epoch"])

    def finish(self, folder: Path, results: dict[str, Any]) -> None:
        wandb = package("wandb", "wandb")
        run = _RUNS.pop(folder)
        done = results["run"]["status"] == "completed"
        try:
            run.summary.update(final(results))
            images = {path.stem: wandb.Image(str(path)) for path in pictures(folder)}
            if images:
                run.log({f"figures/{name}": image for name, image in images.items()})
            artifact = wandb.Artifact(f"model-{run.id}", type="model")
            for path in model(folder):
                artifact.add_file(str(path))
            run.log_artifact(artifact)
        finally:
            run.finish(exit_code=0 if done else 1)
