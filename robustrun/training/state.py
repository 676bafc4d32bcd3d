"""The state of a training: what decides its next step, what is kept of it, what it leaves."""

import logging
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from robustrun.training.learner import Learner, State, weights
from robustrun.training.overfitting import Overfitting, overfitting_in
from robustrun.training.settings import Select

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """What a training left: one row per epoch, and the weights to keep."""

    history: list[dict[str, Any]]
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

    trainer: Learner
    kept: "BestWeights"
    epochs: int  # planned
    history: list[dict[str, Any]] = field(default_factory=list)
    verdicts: dict[int, Tensor] = field(default_factory=dict)  # by epoch, on validation images
    epoch: int = 1  # under way
    batch: int = 0  # how many of its batches are done
    loss: Tensor = field(default_factory=lambda: torch.zeros(()))  # summed over its images so far
    images: int = 0  # of its images so far
    seconds: float = 0.0  # in steps, over all epochs

    @property
    def overfitting(self) -> list[Overfitting]:
        return overfitting_in(self.history, self.verdicts, self.epochs)

    def end_epoch(self, row: dict[str, Any], verdicts: Tensor | None) -> None:
        self.history.append(row)
        if verdicts is not None:
            self.verdicts[row["epoch"]] = verdicts
        self.kept.consider(row, self.trainer)
        self.epoch, self.batch, self.images = self.epoch + 1, 0, 0
        self.loss = torch.zeros_like(self.loss)
        for collapse in self.overfitting:
            if collapse.epoch == row["epoch"]:
                log.warning("%s", collapse)

    def state(self) -> dict[str, Any]:
        """Plain values and tensors only, so that `weights_only` reads it."""
        trainer, kept = self.trainer, self.kept
        return {
            "model": trainer.model.state_dict(),
            "optimizer": trainer.optimizer.state_dict(),
            "average": trainer.average and trainer.average.state,
            "average_updates": trainer.average and trainer.average.updates,
            "memory": trainer.memory,
            "counters": [trainer.steps, trainer.batches, trainer.skipped],
            "kept": [list(kept.score), kept.epoch, kept.state],
            "history": self.history,
            "verdicts": self.verdicts,
            "position": [self.epoch, self.batch, self.loss, self.images, self.seconds],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        trainer, kept, device = self.trainer, self.kept, self.loss.device
        trainer.model.load_state_dict(state["model"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        if trainer.average is not None:
            trainer.average.updates = state["average_updates"]
            trainer.average.state = {k: v.to(device) for k, v in state["average"].items()}
        trainer.memory |= {
            k: v.to(device) if isinstance(v, Tensor) else v for k, v in state["memory"].items()
        }
        trainer.steps, trainer.batches, trainer.skipped = state["counters"]
        (*score,), kept.epoch, kept.state = state["kept"]
        kept.score = (score[0], score[1])
        self.history = state["history"]
        self.verdicts = state.get("verdicts", {})
        if self.history and "verdicts" not in state:  # an older checkpoint
            log.info("overfitting is looked for from epoch %d on", state["position"][0])
        self.epoch, self.batch, loss, self.images, self.seconds = state["position"]
        self.loss = loss.to(device)


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
    state: State | None = None

    def consider(self, row: dict[str, Any], trainer: Learner) -> None:
        clean, robust = row["validation_clean_accuracy"], row["validation_robust_accuracy"]
        if self.select == "last" or clean is None:
            return
        robust = 0.0 if robust is None else robust  # without a validation attack
        score = (clean, robust) if self.select == "best_clean" else (robust, clean)
        if score >= self.score:  # a tie goes to the longer trained
            self.score, self.epoch, self.state = score, row["epoch"], weights(trainer)
