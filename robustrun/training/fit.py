"""The training loop, the same for every method: batches, rates, validation, and what is kept."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robustrun import console
from robustrun.compute import interrupts
from robustrun.errors import ConfigError, RunFailure
from robustrun.training.batching import shuffled
from robustrun.training.learner import Learner, new_learner, weights
from robustrun.training.optimizers import set_momentum
from robustrun.training.schedules import warm_up
from robustrun.training.settings import Training, TrainingPlan
from robustrun.training.state import (
    BestWeights,
    Checkpointer,
    NoCheckpoints,
    TrainingResult,
    TrainingState,
)
from robustrun.training.validation import validated
from robustrun.types import AfterUpdate, AnyMethod, CyclesMomentum, Images, OwnStep

log = logging.getLogger(__name__)
CHECK_EVERY = 50  # steps between looks at the loss of a GPU; each look waits for the device
MOST_SKIPPED = 0.1  # share of the steps that may be left out


EpochEnd = Callable[[list[dict[str, Any]]], None]  # the rows so far


def fit(
    model: nn.Module,
    method: AnyMethod,
    train: Images,
    validation: Images | None,
    class_counts: Tensor,
    how: TrainingPlan,
    epoch_end: EpochEnd,
    *,
    saves: Checkpointer | None = None,
    start: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train `model` in place, from the state `start` if one is given. `epoch_end` is told the rows
    of the epochs so far, to log and to write them.

    A signal lets the step under way end, and is raised once the state is saved.
    """
    saves = saves or NoCheckpoints()
    if validation is None:
        log.info("no validation split: the last weights are kept, and no overfitting is noticed")
    fitting = _start_state(model, train, class_counts, how)
    if start is not None:
        fitting.restore(start)
    trainer = fitting.trainer
    size = how.training.batch_size
    with console.bar("training", trainer.total_steps, trainer.batches, images=size) as bar:
        while fitting.epoch <= how.training.epochs and not _stopped_early(fitting, how.training):
            began = time.monotonic()
            loss = _epoch(fitting, method, train, how, bar, saves)
            row: dict[str, Any] = {"epoch": fitting.epoch, "step": trainer.steps, "lr": trainer.lr}
            shares, verdicts = validated(fitting, train, validation, how, saves)
            row |= {"train_loss": loss} | shares
            row["seconds"] = time.monotonic() - began
            with interrupts.held() as arrived:
                fitting.end_epoch(row, verdicts)
                epoch_end(fitting.history)
                if arrived or saves.due(trainer.steps, True):
                    saves.save(fitting.state())
    return _result(fitting, how.training, len(train))


def _stopped_early(fitting: TrainingState, training: Training) -> bool:
    return training.on_collapse != "warn" and bool(fitting.overfitting)


def _start_state(
    model: nn.Module, train: Images, class_counts: Tensor, how: TrainingPlan
) -> TrainingState:
    training = how.training
    select = "best_robust" if training.on_collapse == "restore" else training.select
    none = torch.zeros((), device=how.runtime.device)
    return TrainingState(
        new_learner(model, train, class_counts, how),
        BestWeights(select),
        training.epochs,
        loss=none,
    )


def _result(fitting: TrainingState, training: Training, examples: int) -> TrainingResult:
    history, kept, trainer = fitting.history, fitting.kept, fitting.trainer
    found = fitting.overfitting
    last, epochs = weights(trainer), len(history)
    wanted = training.select != "last" or (training.on_collapse == "restore" and found)
    best, chosen = (last, epochs)
    if kept.state is not None and wanted:
        best, chosen = kept.state, kept.epoch
    images, skipped = examples * epochs, trainer.skipped
    return TrainingResult(
        history, best, last, chosen, fitting.seconds, trainer.steps, images, skipped, found
    )


def _epoch(
    fitting: TrainingState,
    method: AnyMethod,
    train: Images,
    how: TrainingPlan,
    bar: console.Bar,
    saves: Checkpointer,
) -> float:
    """The rest of the epoch under way; returns the mean loss over all of its images."""
    trainer, runtime, clock = fitting.trainer, how.runtime, time.monotonic()
    place = trainer.batching, how.seed, fitting.epoch, runtime.device, fitting.batch
    trainer.model.train()
    with interrupts.held() as arrived:
        for x, y in shuffled(train, *place):
            _step(fitting, method, x, y, how)
            _show_progress(fitting, bar, how)
            now = time.monotonic()
            fitting.seconds, clock = fitting.seconds + now - clock, now
            if arrived or saves.due(trainer.steps, False):
                _require_finite(fitting)  # what is saved must be good
                saves.save(fitting.state())
            if arrived:
                interrupts.stop(arrived[0])
    _require_finite(fitting)
    return float(fitting.loss) / fitting.images if fitting.images else math.nan  # all left out


def train_batch(learner: Learner, method: AnyMethod, x: Tensor, y: Tensor) -> Tensor:
    """One step of a method, in the training mode that the network is in; returns the loss.
    ConfigError if labels are to be smoothed and the method has no loss for that."""
    if isinstance(method, OwnStep):
        loss = method.step(learner, x, y)
    else:
        x_adv = method.perturb(learner, x, y)
        loss = learner.minimise(lambda: method.loss(learner, x, x_adv, y))
        if isinstance(method, AfterUpdate):
            method.after_update(learner, x)
    if learner.label_smoothing and not learner.smooths:
        raise ConfigError(
            f"training.label_smoothing is {learner.label_smoothing:g}, but {type(method).__name__} "
            "has no cross-entropy that smooths labels. Set it to 0."
        )
    return loss


def _step(
    fitting: TrainingState, method: AnyMethod, x: Tensor, y: Tensor, how: TrainingPlan
) -> None:
    trainer, runtime, skipped = fitting.trainer, how.runtime, fitting.trainer.skipped
    _follow_schedule(trainer, how)
    low = runtime.precision == "bfloat16"
    with torch.autocast(runtime.device.type, torch.bfloat16, enabled=low):
        loss = train_batch(trainer, method, x, y)
    trainer.batches, fitting.batch = trainer.batches + 1, fitting.batch + 1
    if trainer.skipped > skipped:
        _require_progress(fitting)
        return
    fitting.loss += loss.detach().float() * len(x)
    fitting.images += len(x)
    every = CHECK_EVERY if runtime.device.type == "cuda" else 1
    if fitting.batch % every == 0:
        _require_finite(fitting)


def _follow_schedule(trainer: Learner, how: TrainingPlan) -> None:
    schedule, progress = how.schedule, trainer.progress
    momentum = schedule.momentum_at(progress) if isinstance(schedule, CyclesMomentum) else None
    trainer.scale_rates(warm_up(progress, how.training.warmup) * schedule.factor(progress))
    if momentum is not None:
        for group in trainer.optimizer.param_groups:
            set_momentum(group, momentum)


def _show_progress(fitting: TrainingState, bar: console.Bar, how: TrainingPlan) -> None:
    def line() -> str:
        loss = float(fitting.loss) / max(fitting.images, 1)  # waits for a GPU
        last = fitting.history[-1] if fitting.history else {}
        place = fitting.epoch, how.training.epochs, fitting.trainer.steps
        return console.progress_line(*place, loss, last)

    bar.advance(note=line)


def _require_finite(fitting: TrainingState) -> None:
    trainer = fitting.trainer
    if not math.isfinite(float(fitting.loss)):
        raise RunFailure(
            f"The training loss is no longer finite (epoch {fitting.epoch}, step {trainer.steps}, "
            f"learning rate {trainer.lr:g}). A smaller optimizer.lr or a warm-up usually helps; "
            f"training.on_nonfinite=skip leaves such steps out. The checkpoint from before is kept."
        )


def _require_progress(fitting: TrainingState) -> None:
    trainer = fitting.trainer
    log.warning("step left out: its loss is not finite (epoch %d)", fitting.epoch)
    if trainer.skipped > MOST_SKIPPED * max(trainer.steps, 100):
        raise RunFailure(
            f"{trainer.skipped} steps were left out because their loss was not finite (epoch "
            f"{fitting.epoch}, learning rate {trainer.lr:g}): a smaller optimizer.lr is needed."
        )
