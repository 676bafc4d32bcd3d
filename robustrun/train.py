"""The training loop, the same for every method: batches, rates, validation, and what is kept."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from robustrun import console
from robustrun.averaging import Average
from robustrun.batching import Batching, batching
from robustrun.collapse import Collapse, collapses, packed
from robustrun.compute import interrupts
from robustrun.config import Select, Training
from robustrun.errors import RunFailure
from robustrun.evaluation.attack_run import predict, run_attack, search_networks
from robustrun.evaluation.statistics import accuracy
from robustrun.optimizers import set_momentum
from robustrun.types import CyclesMomentum, Images, Method, Optimizer, Runtime, Schedule

log = logging.getLogger(__name__)
CHECK_EVERY = 50  # steps between looks at the loss of a GPU; each look waits for the device
SHOW_EVERY = 10  # steps between moves of the progress bar
TRAIN_SAMPLE = 1000  # training images that the training accuracy is measured on
EVALUATION_BATCH = 500
MOST_SKIPPED = 0.1  # share of the steps that may be left out

State = dict[str, Tensor]
Validated = tuple[dict[str, float | None], Tensor | None]  # accuracies, and verdicts on validation


@dataclass
class Trainer:
    """The Learner that methods see: one model, its optimizer, and where the run stands."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    class_counts: Tensor
    batching: Batching
    total_steps: int
    gradient_clip: float | None
    average: Average | None
    skips: bool = False  # a step whose loss is not finite is left out
    steps: int = 0
    batches: int = 0
    skipped: int = 0
    skipping: bool = False  # the step under way is left out
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def progress(self) -> float:
        return self.batches / self.total_steps

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def update(self, loss: Tensor) -> None:
        self.backward(loss)
        self.apply()

    def backward(self, loss: Tensor) -> None:
        self.skipping |= self.skips and not math.isfinite(float(loss.detach()))
        if not self.skipping:
            loss.backward()  # type: ignore[no-untyped-call]

    def apply(self) -> None:
        if self.skipping:
            self.optimizer.zero_grad(set_to_none=True)
            self.skipped, self.skipping = self.skipped + 1, False
            return
        if self.gradient_clip is not None:
            nn.utils.clip_grad_value_(self.model.parameters(), self.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        if self.average is not None:
            self.average.update(self.model, self.progress)


@dataclass(frozen=True)
class Fitted:
    """What a training left: one row per epoch, and the weights to keep."""

    history: list[dict[str, Any]]
    best: State  # what `select` chose
    last: State
    selected_epoch: int
    seconds: float  # training alone, without validation
    steps: int
    images: int  # training images seen
    skipped: int  # steps left out because their loss was not finite
    collapses: list[Collapse]


@dataclass(frozen=True)
class How:
    """What `fit` is told beside model, method and data."""

    training: Training
    optimizer: Optimizer
    schedule: Schedule
    runtime: Runtime
    seed: int


@dataclass
class Fitting:
    """A training under way: beside the state of the random generators, all that decides its next
    step."""

    trainer: Trainer
    kept: "Kept"
    epochs: int  # planned
    history: list[dict[str, Any]] = field(default_factory=list)
    verdicts: dict[int, Tensor] = field(default_factory=dict)  # by epoch, on validation images
    epoch: int = 1  # under way
    batch: int = 0  # how many of its batches are done
    loss: Tensor = field(default_factory=lambda: torch.zeros(()))  # summed over its images so far
    images: int = 0  # of its images so far
    seconds: float = 0.0  # in steps, over all epochs

    @property
    def collapses(self) -> list[Collapse]:
        return collapses(self.history, self.verdicts, self.epochs)

    def end_epoch(self, row: dict[str, Any], verdicts: Tensor | None) -> None:
        self.history.append(row)
        if verdicts is not None:
            self.verdicts[row["epoch"]] = verdicts
        self.kept.consider(row, self.trainer)
        self.epoch, self.batch, self.images = self.epoch + 1, 0, 0
        self.loss = torch.zeros_like(self.loss)
        for collapse in self.collapses:
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


class Saves(Protocol):
    """Where the state of a training is kept."""

    def due(self, steps: int, epoch_ended: bool) -> bool: ...

    def save(self, state: dict[str, Any]) -> None: ...


class Unsaved:
    """Keeps nothing."""

    def due(self, steps: int, epoch_ended: bool) -> bool:
        return False

    def save(self, state: dict[str, Any]) -> None:
        pass


EpochEnd = Callable[[list[dict[str, Any]]], None]  # the rows so far


def fit(
    model: nn.Module,
    method: Method,
    train: Images,
    validation: Images | None,
    class_counts: Tensor,
    how: How,
    epoch_end: EpochEnd,
    *,
    saves: Saves | None = None,
    start: dict[str, Any] | None = None,
) -> Fitted:
    """Train `model` in place, from the state `start` if one is given. `epoch_end` is told the rows
    of the epochs so far, to log and to write them.

    A signal lets the step under way end, and is raised once the state is saved.
    """
    saves = saves or Unsaved()
    if validation is None:
        log.info("no validation split: the last weights are kept, and no overfitting is noticed")
    fitting = _begin(model, train, class_counts, how)
    if start is not None:
        fitting.restore(start)
    trainer = fitting.trainer
    with console.bar("training", trainer.total_steps, trainer.batches) as bar:
        while fitting.epoch <= how.training.epochs and not _given_up(fitting, how.training):
            began = time.monotonic()
            loss = _epoch(fitting, method, train, how, bar, saves)
            row: dict[str, Any] = {"epoch": fitting.epoch, "step": trainer.steps, "lr": trainer.lr}
            shares, verdicts = _validated(fitting, train, validation, how, saves)
            row |= {"train_loss": loss} | shares
            row["seconds"] = time.monotonic() - began
            with interrupts.held() as arrived:
                fitting.end_epoch(row, verdicts)
                epoch_end(fitting.history)
                if arrived or saves.due(trainer.steps, True):
                    saves.save(fitting.state())
    return _fitted(fitting, how.training, len(train))


def _given_up(fitting: Fitting, training: Training) -> bool:
    return training.on_collapse != "warn" and bool(fitting.collapses)


def _begin(model: nn.Module, train: Images, class_counts: Tensor, how: How) -> Fitting:
    training = how.training
    select = "best_robust" if training.on_collapse == "restore" else training.select
    none = torch.zeros((), device=how.runtime.device)
    return Fitting(
        _trainer(model, train, class_counts, how), Kept(select), training.epochs, loss=none
    )


def _fitted(fitting: Fitting, training: Training, examples: int) -> Fitted:
    history, kept, trainer = fitting.history, fitting.kept, fitting.trainer
    found = fitting.collapses
    last, epochs = weights(trainer), len(history)
    wanted = training.select != "last" or (training.on_collapse == "restore" and found)
    best, chosen = (last, epochs)
    if kept.state is not None and wanted:
        best, chosen = kept.state, kept.epoch
    images, skipped = examples * epochs, trainer.skipped
    return Fitted(
        history, best, last, chosen, fitting.seconds, trainer.steps, images, skipped, found
    )


def _trainer(model: nn.Module, train: Images, class_counts: Tensor, how: How) -> Trainer:
    training = how.training
    batches = batching(model, len(train), train.shape, training.batch_size)
    return Trainer(
        model,
        how.optimizer.build([p for p in model.parameters() if p.requires_grad]),
        class_counts.to(how.runtime.device),
        batches,
        batches.count(len(train)) * training.epochs,
        training.gradient_clip,
        _average(model, training),
        skips=training.on_nonfinite == "skip",
    )


def _average(model: nn.Module, training: Training) -> Average | None:
    if training.ema_decay is None:
        return None
    buffers, warmup, start = training.ema_buffers, training.ema_warmup, training.ema_start
    return Average(model, training.ema_decay, buffers, warmup, start)


@dataclass
class Kept:
    """The best weights so far by what `select` asks of the validation split."""

    select: Select
    score: tuple[float, float] = (-1.0, -1.0)
    epoch: int = 0
    state: State | None = None

    def consider(self, row: dict[str, Any], trainer: Trainer) -> None:
        clean, robust = row["validation_clean_accuracy"], row["validation_robust_accuracy"]
        if self.select == "last" or clean is None:
            return
        robust = 0.0 if robust is None else robust  # without a validation attack
        score = (clean, robust) if self.select == "best_clean" else (robust, clean)
        if score >= self.score:  # a tie goes to the longer trained
            self.score, self.epoch, self.state = score, row["epoch"], weights(trainer)


def shuffled(
    train: Images, batches: Batching, seed: int, epoch: int, device: torch.device, skip: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's batches in an order that depends on seed and epoch alone, but for the first
    `skip`."""
    order = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return batches.of(train, torch.randperm(len(train), generator=order), device, skip)


def _epoch(
    fitting: Fitting, method: Method, train: Images, how: How, bar: console.Bar, saves: Saves
) -> float:
    """The rest of the epoch under way; returns the mean loss over all of its images."""
    trainer, runtime, clock = fitting.trainer, how.runtime, time.monotonic()
    place = trainer.batching, how.seed, fitting.epoch, runtime.device, fitting.batch
    trainer.model.train()
    with interrupts.held() as arrived:
        for x, y in shuffled(train, *place):
            _step(fitting, method, x, y, how)
            _show(fitting, bar, how)
            now = time.monotonic()
            fitting.seconds, clock = fitting.seconds + now - clock, now
            if arrived or saves.due(trainer.steps, False):
                _require_finite(fitting)  # what is saved must be good
                saves.save(fitting.state())
            if arrived:
                interrupts.stop(arrived[0])
    _require_finite(fitting)
    return float(fitting.loss) / fitting.images if fitting.images else math.nan  # all left out


def _step(fitting: Fitting, method: Method, x: Tensor, y: Tensor, how: How) -> None:
    trainer, runtime, skipped = fitting.trainer, how.runtime, fitting.trainer.skipped
    _follow_schedule(trainer, how)
    low = runtime.precision == "bfloat16"
    with torch.autocast(runtime.device.type, torch.bfloat16, enabled=low):
        loss = method.step(trainer, x, y)
    trainer.batches, fitting.batch = trainer.batches + 1, fitting.batch + 1
    if trainer.skipped > skipped:
        _require_progress(fitting)
        return
    fitting.loss += loss.detach().float() * len(x)
    fitting.images += len(x)
    every = CHECK_EVERY if runtime.device.type == "cuda" else 1
    if fitting.batch % every == 0:
        _require_finite(fitting)


def _follow_schedule(trainer: Trainer, how: How) -> None:
    schedule, progress = how.schedule, trainer.progress
    momentum = schedule.momentum_at(progress) if isinstance(schedule, CyclesMomentum) else None
    for group in trainer.optimizer.param_groups:
        group["lr"] = how.optimizer.lr * schedule.factor(progress)
        if momentum is not None:
            set_momentum(group, momentum)


def _show(fitting: Fitting, bar: console.Bar, how: How) -> None:
    every = CHECK_EVERY if how.runtime.device.type == "cuda" else SHOW_EVERY
    steps = fitting.trainer.batches - bar.done
    if steps >= every or fitting.trainer.batches == fitting.trainer.total_steps:
        loss = float(fitting.loss) / max(fitting.images, 1)
        last = fitting.history[-1] if fitting.history else {}
        place = fitting.epoch, how.training.epochs, fitting.trainer.steps
        images = steps * how.training.batch_size
        bar.advance(steps, console.standing(*place, loss, last), images=images)


def _require_finite(fitting: Fitting) -> None:
    trainer = fitting.trainer
    if not math.isfinite(float(fitting.loss)):
        raise RunFailure(
            f"The training loss is no longer finite (epoch {fitting.epoch}, step {trainer.steps}, "
            f"learning rate {trainer.lr:g}). A smaller optimizer.lr or a warm-up usually mends it; "
            f"training.on_nonfinite=skip leaves such steps out. The checkpoint from before is kept."
        )


def _require_progress(fitting: Fitting) -> None:
    trainer = fitting.trainer
    log.warning("step left out: its loss is not finite (epoch %d)", fitting.epoch)
    if trainer.skipped > MOST_SKIPPED * max(trainer.steps, 100):
        raise RunFailure(
            f"{trainer.skipped} steps were left out because their loss was not finite (epoch "
            f"{fitting.epoch}, learning rate {trainer.lr:g}): a smaller optimizer.lr is needed."
        )


def weights(trainer: Trainer) -> State:
    """A copy on the CPU of the weights that count: the average if there is one."""
    state = trainer.average.state if trainer.average else trainer.model.state_dict()
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


def _validated(
    fitting: Fitting, train: Images, validation: Images | None, how: How, saves: Saves
) -> Validated:
    """`_validate`; a signal within it costs nothing that was trained."""
    try:
        return _validate(fitting.trainer, train, validation, how, fitting.epoch)
    except (KeyboardInterrupt, interrupts.Terminated):
        saves.save(fitting.state())
        raise


def _validate(
    trainer: Trainer, train: Images, validation: Images | None, how: How, epoch: int
) -> Validated:
    """At the end of an epoch, in eval mode on images without augmentation."""
    names = ("train_accuracy", "validation_clean_accuracy", "validation_robust_accuracy")
    training, runtime, seed = how.training, how.runtime, how.seed
    if epoch % training.validation_every and epoch != training.epochs:
        return dict.fromkeys(names), None
    _recompute(trainer, train, how, epoch)
    with averaged(trainer):
        drawn = torch.Generator().manual_seed(seed)  # a folder's first images are of one class
        sample = train.plain().subset(torch.randperm(len(train), generator=drawn)[:TRAIN_SAMPLE])
        found: dict[str, float | None] = {"train_accuracy": _clean(trainer.model, sample, runtime)}
        if validation is None:
            return dict.fromkeys(names) | found, None
        tried = np.flatnonzero(_right(trainer.model, validation, runtime))
        found["validation_clean_accuracy"] = len(tried) / len(validation)
        if training.validation_attack is None:
            return dict.fromkeys(names) | found, None
        device = runtime.device
        networks = search_networks(trainer.model, validation, "float32", EVALUATION_BATCH, device)
        robust, _ = run_attack(
            training.validation_attack,
            "validation",
            networks,
            validation,
            tried,
            seed=seed,
            batch_size=EVALUATION_BATCH,
            device=device,
        )
        found["validation_robust_accuracy"] = accuracy(robust)
        return found, packed(robust)


def _recompute(trainer: Trainer, train: Images, how: How, epoch: int) -> None:
    """Find the running statistics of the averaged weights, if that is how they are to be had."""
    average, device = trainer.average, how.runtime.device
    if average is None or average.buffers != "recompute":
        return
    generators = [device] if device.type == "cuda" else []
    with averaged(trainer), torch.random.fork_rng(generators):  # training draws on as without
        batches = shuffled(train, trainer.batching, how.seed, epoch, device)
        average.recompute(trainer.model, batches)


@contextmanager
def averaged(trainer: Trainer) -> Iterator[None]:
    """Within it, the model is in eval mode and holds the averaged weights, if any are kept."""
    model, average = trainer.model, trainer.average
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    if average is not None:
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(average.state)
    try:
        yield
    finally:
        if average is not None:
            model.load_state_dict(own)
        for module, training in modes:
            module.training = training


def _right(model: nn.Module, images: Images, runtime: Runtime) -> np.ndarray:
    predictions = predict(model, images, EVALUATION_BATCH, runtime.device)
    right: np.ndarray = predictions == images.labels.numpy()
    return right


def _clean(model: nn.Module, images: Images, runtime: Runtime) -> float:
    return accuracy(_right(model, images, runtime))
