"""The state of a training: what decides its next step, what is kept of it, what it leaves."""

import logging
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from robustrun.training.learner import Learner, State, weights
from robustrun.training.metrics import EpochMetrics, Overfitting
from robustrun.training.overfitting import overfitting_in
from robustrun.training.settings import Select

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """What a training left: one row per epoch, and the weights to keep."""

    history: list[EpochMetrics]
    best: State  # what `select` chose
    last: State
    selected_epoch: int
    seconds: float  # training alone, without validation
    steps: int
    images: int  # training images seen
    skipped: int  # steps left out because their loss was not finite
    overfitting: list[Overfitting]


@dataclass
class TrainingState:
    """A training under way: beside the state of the random generators, all that decides its next
    step."""

    learner: Learner
    best: "BestWeights"
    epochs: int  # planned
    history: list[EpochMetrics] = field(default_factory=list)
    verdicts: dict[int, Tensor] = field(default_factory=dict)  # by epoch, on validation images
    epoch: int = 1  # under way
    batch: int = 0  # how many of its batches are done
    loss: Tensor = field(default_factory=lambda: torch.zeros(()))  # summed over its images so far
    images: int = 0  # of its images so far
    seconds: float = 0.0  # in steps, over all epochs

    @property
    def overfitting(self) -> list[Overfitting]:
        return overfitting_in(self.history, self.verdicts, self.epochs)

    def end_epoch(self, row: EpochMetrics, verdicts: Tensor | None) -> None:
        self.history.append(row)
        if verdicts is not None:
            self.verdicts[row.epoch] = verdicts
        self.best.consider(row, self.learner)
        self.epoch, self.batch, self.images = self.epoch + 1, 0, 0
        self.loss = torch.zeros_like(self.loss)
        for overfitting in self.overfitting:
            if overfitting.epoch == row.epoch:
                log.warning("%s", overfitting)

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors only, so that `weights_only` reads it."""
        return {
            "learner": self.learner.state_dict(),
            "best": self.best.state_dict(),
            "history": [asdict(row) for row in self.history],
            "verdicts": self.verdicts,
            "epoch": self.epoch,
            "batch": self.batch,
            "loss": self.loss,
            "images": self.images,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave, this version's or an earlier one's."""
        state = with_present_names(state)
        self.learner.load_state_dict(state["learner"])
        self.best.load_state_dict(state["best"])
        self.history = [EpochMetrics(**row) for row in state["history"]]
        self.verdicts = state.get("verdicts", {})
        self.epoch, self.batch, self.images = state["epoch"], state["batch"], state["images"]
        self.seconds, self.loss = state["seconds"], state["loss"].to(self.loss.device)
        log.info("continuing in epoch %d after %d of its batches", self.epoch, self.batch)
        if self.history and "verdicts" not in state:
            log.info("overfitting is looked for from epoch %d on", self.epoch)


def with_present_names(state: dict[str, Any]) -> dict[str, Any]:
    """A training's state of any version, as this version names its parts."""
    if "position" not in state:
        return state
    epoch, batch, loss, images, seconds = state["position"]
    steps, batches, skipped = state["counters"]
    score, best_epoch, weights = state["kept"]
    average = {"weights": state["average"], "updates": state["average_updates"]}
    learner = {name: state[name] for name in ("model", "optimizer", "memory")}
    learner |= {"steps": steps, "batches": batches, "skipped": skipped}
    named = {
        "learner": learner | {"average": average},
        "best": {"score": score, "epoch": best_epoch, "weights": weights},
        "history": state["history"],
        "epoch": epoch,
        "batch": batch,
        "loss": loss,
        "images": images,
        "seconds": seconds,
    }
    return named | ({"verdicts": state["verdicts"]} if "verdicts" in state else {})


class Checkpointer(Protocol):
    """Where the state of a training is kept."""

    def due(self, steps: int, epoch_ended: bool) -> bool: ...

    def save(self, state: dict[str, Any]) -> None: ...


class NoCheckpoints:
    """Keeps nothing."""

    def due(self, steps: int, epoch_ended: bool) -> bool:
        return False

    def save(self, state: dict[str, Any]) -> None:
        pass


@dataclass
class BestWeights:
    """The best weights so far by what `select` asks of the validation split."""

    select: Select
    score: tuple[float, float] = (-1.0, -1.0)
    epoch: int = 0
    weights: State | None = None

    def consider(self, row: EpochMetrics, learner: Learner) -> None:
        clean, robust = row.validation_clean_accuracy, row.validation_robust_accuracy
        if self.select == "last" or clean is None:
            return
        robust = 0.0 if robust is None else robust  # without a validation attack
        score = (clean, robust) if self.select == "best_clean" else (robust, clean)
        if score >= self.score:  # a tie goes to the longer trained
            self.score, self.epoch, self.weights = score, row.epoch, weights(learner)

    def state_dict(self) -> dict[str, Any]:
        return {"score": list(self.score), "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        first, second = state["score"]
        self.score, self.epoch = (first, second), state["epoch"]
        self.weights = state["weights"]
