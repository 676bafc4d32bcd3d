"""The training loop, the same for every method: batches, rates, validation, and what is kept."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robustrun import console
from robustrun.compute import interrupts, processes
from robustrun.compute.batch_norm import average_statistics, synchronised
from robustrun.compute.batch_parts import batch_mean, total_rows
from robustrun.errors import ConfigError, RunFailure
from robustrun.training.batching import shuffled
from robustrun.training.learner import Learner, new_learner, weights
from robustrun.training.metrics import EpochMetrics
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
from robustrun.training.validation import Validation, validated
from robustrun.types import AfterUpdate, AnyMethod, CyclesMomentum, Images, OwnStep

log = logging.getLogger(__name__)
CHECK_EVERY = 50  # steps between looks at the loss of a GPU; each look waits for the device
MOST_SKIPPED = 0.1  # share of the steps that may be left out


EpochEnd = Callable[[list[EpochMetrics]], None]  # the rows so far
Stops = Callable[[list[EpochMetrics]], bool]  # whether the training ends after these rows


def fit(
    model: nn.Module,
    method: AnyMethod,
    train: Images,
    validation: Images | None,
    class_counts: Tensor,
    how: TrainingPlan,
    epoch_end: EpochEnd,
    *,
    checkpointer: Checkpointer | None = None,
    start: dict[str, Any] | None = None,
    stops: Stops = lambda rows: False,
) -> TrainingResult:
    """Train `model` in place, from the state `start` if one is given. `epoch_end` is told the rows
    of the epochs so far, to log and to write them; before each further epoch, `stops` says whether
    the training ends here.

    A signal lets the step under way end, and is raised once the state is saved.
    """
    checkpointer = checkpointer or NoCheckpoints()
    if validation is None:
        log.info("no validation split: the last weights are kept, and no overfitting is noticed")
    state = start_state(model, train, class_counts, how)
    if start is not None:
        state.load_state_dict(start)
    learner = state.learner
    size = how.training.batch_size
    with (
        synchronised(model, how.runtime.sync_batchnorm),
        console.bar("training", learner.total_steps, learner.batches, images=size) as bar,
    ):
        while state.epoch <= how.training.epochs and not _stopped_early(state, how.training, stops):
            began = time.monotonic()
            loss = _epoch(state, method, train, how, bar, checkpointer)
            accuracies = validated(state, train, validation, how, checkpointer)
            row = _metrics(state, loss, accuracies, time.monotonic() - began)
            _end_epoch(state, row, accuracies.verdicts, epoch_end, checkpointer)
    return _result(state, how.training, len(train))


def _end_epoch(
    state: TrainingState,
    row: EpochMetrics,
    verdicts: Tensor | None,
    epoch_end: EpochEnd,
    checkpointer: Checkpointer,
) -> None:
    """Keep what an epoch left, and answer a signal that came meanwhile."""
    with interrupts.held() as arrived:
        state.end_epoch(row, verdicts)
        epoch_end(state.history)
        signal, due = _agreed(arrived, checkpointer.due(state.learner.steps, True))
        if signal or due:
            checkpointer.save(state.state_dict())
        _answer(arrived, signal)


def _metrics(
    state: TrainingState, loss: float | None, accuracies: Validation, seconds: float
) -> EpochMetrics:
    learner, measured = state.learner, (accuracies.train, accuracies.clean, accuracies.robust)
    return EpochMetrics(state.epoch, learner.steps, learner.lr, loss, *measured, seconds)


def _stopped_early(state: TrainingState, training: Training, stops: Stops) -> bool:
    overfits = training.on_collapse != "warn" and bool(state.overfitting)
    return overfits or stops(state.history)


def start_state(
    model: nn.Module, train: Images, class_counts: Tensor, how: TrainingPlan
) -> TrainingState:
    """A training of `model` before its first step."""
    training = how.training
    select = "best_robust" if training.on_collapse == "restore" else training.select
    none = torch.zeros((), device=how.runtime.device)
    return TrainingState(
        new_learner(model, train, class_counts, how),
        BestWeights(select),
        training.epochs,
        loss=none,
    )


def _result(state: TrainingState, training: Training, examples: int) -> TrainingResult:
    best, learner, overfitting = state.best, state.learner, state.overfitting
    last, epochs = weights(learner), len(state.history)
    chooses = training.select != "last" or (training.on_collapse == "restore" and overfitting)
    chosen = best.weights if chooses else None
    return TrainingResult(
        state.history,
        last if chosen is None else chosen,
        last,
        epochs if chosen is None else best.epoch,
        state.seconds,
        learner.steps,
        examples * epochs,
        learner.skipped,
        overfitting,
    )


def _epoch(
    state: TrainingState,
    method: AnyMethod,
    train: Images,
    how: TrainingPlan,
    bar: console.Bar,
    checkpointer: Checkpointer,
) -> float | None:
    """The rest of the epoch under way; returns the mean loss over all of its images."""
    learner, runtime, clock = state.learner, how.runtime, time.monotonic()
    place = learner.batching, how.seed, state.epoch, runtime.device, state.batch
    learner.model.train()
    with interrupts.held() as arrived:
        for x, y in shuffled(train, *place):
            scheduled_step(state, method, x, y, how)
            bar.advance(note=lambda: _progress(state, how))
            now = time.monotonic()
            state.seconds, clock = state.seconds + now - clock, now
            signal, due = _agreed(arrived, checkpointer.due(learner.steps, False))
            if signal or due:
                _require_finite(state)  # what is saved must be good
                checkpointer.save(state.state_dict())
            _answer(arrived, signal)
    _require_finite(state)
    return float(state.loss) / state.images if state.images else None  # all left out


def _agreed(arrived: list[int], due: bool) -> tuple[int, bool]:
    """The signal that a process got, 0 without one, and whether a checkpoint is due: on all."""
    if processes.count() == 1:
        return (arrived[0] if arrived else 0), due
    signal, save = processes.agreed(arrived[0] if arrived else 0, due)
    return int(signal), bool(save)


def _answer(arrived: interrupts.Waiting, signal: int) -> None:
    """Answer the signals that arrived; of several processes all stop, whichever got one."""
    arrived.heed()
    if signal and processes.count() > 1:
        interrupts.stop(signal)


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
            average_statistics(learner.model)
    if learner.label_smoothing and not learner.smooths:
        raise ConfigError(
            f"training.label_smoothing is {learner.label_smoothing:g}, but {type(method).__name__} "
            "has no cross-entropy that smooths labels. Set it to 0."
        )
    return loss


def scheduled_step(
    state: TrainingState, method: AnyMethod, x: Tensor, y: Tensor, how: TrainingPlan
) -> None:
    """One step of the loop: rates and precision as planned, its loss added to the epoch's."""
    learner, runtime, skipped = state.learner, how.runtime, state.learner.skipped
    _follow_schedule(learner, how)
    low = runtime.precision == "bfloat16"
    with torch.autocast(runtime.device.type, torch.bfloat16, enabled=low):
        loss = train_batch(learner, method, x, y)
    learner.batches, state.batch = learner.batches + 1, state.batch + 1
    if learner.skipped > skipped:
        _require_progress(state)
        return
    images = total_rows(x)
    state.loss += batch_mean(loss).float() * images
    state.images += images
    every = CHECK_EVERY if runtime.device.type == "cuda" else 1
    if state.batch % every == 0:
        _require_finite(state)


def _follow_schedule(learner: Learner, how: TrainingPlan) -> None:
    schedule, progress = how.schedule, learner.progress
    momentum = schedule.momentum_at(progress) if isinstance(schedule, CyclesMomentum) else None
    learner.scale_rates(warm_up(progress, how.training.warmup) * schedule.factor(progress))
    if momentum is not None:
        for group in learner.optimizer.param_groups:
            set_momentum(group, momentum)


def progress_line(
    epoch: int, epochs: int, step: int, loss: float | None, last: EpochMetrics | None
) -> str:
    """Where a training is, in one line; `last` is the last finished epoch."""
    parts = [f"epoch {epoch}/{epochs}", f"step {step}"]
    if loss is not None:
        parts.append(f"loss {loss:.4f}")
    if last is not None and last.validation_clean_accuracy is not None:
        parts.append(f"clean {last.validation_clean_accuracy:.1%}")
    if last is not None and last.validation_robust_accuracy is not None:
        parts.append(f"robust {last.validation_robust_accuracy:.1%}")
    return "  ".join(parts)


def _progress(state: TrainingState, how: TrainingPlan) -> str:
    loss = float(state.loss) / max(state.images, 1)  # waits for a GPU
    last = state.history[-1] if state.history else None
    return progress_line(state.epoch, how.training.epochs, state.learner.steps, loss, last)


def _require_finite(state: TrainingState) -> None:
    learner = state.learner
    if not math.isfinite(float(state.loss)):
        raise RunFailure(
            f"The training loss is no longer finite (epoch {state.epoch}, step {learner.steps}, "
            f"learning rate {learner.lr:g}). A smaller optimizer.lr or a warm-up usually helps; "
            f"training.on_nonfinite=skip leaves such steps out. The checkpoint from before is kept."
        )


def _require_progress(state: TrainingState) -> None:
    learner = state.learner
    log.warning("step left out: its loss is not finite (epoch %d)", state.epoch)
    if learner.skipped > MOST_SKIPPED * max(learner.steps, 100):
        raise RunFailure(
            f"{learner.skipped} steps were left out because their loss was not finite (epoch "
            f"{state.epoch}, learning rate {learner.lr:g}): a smaller optimizer.lr is needed."
        )
