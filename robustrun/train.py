"""The training loop, the same for every method: batches, rates, validation, and what is kept."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustrun import console
from robustrun.config import Select, Training
from robustrun.errors import RunFailure
from robustrun.evaluation import accuracy, predict, run_attack
from robustrun.types import Images, Method, Optimizer, Runtime, Schedule

log = logging.getLogger(__name__)
CHECK_EVERY = 50  # steps between looks at the loss; each look waits for the device
SHOW_EVERY = 10  # steps between moves of the progress bar
TRAIN_SAMPLE = 1000  # training images that the training accuracy is measured on
EVALUATION_BATCH = 500

State = dict[str, Tensor]


@dataclass
class Trainer:
    """The Learner that methods see: one model, its optimizer, and where the run stands."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    class_counts: Tensor
    total_steps: int
    gradient_clip: float | None
    average: "Average | None"
    steps: int = 0
    batches: int = 0
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
        loss.backward()  # type: ignore[no-untyped-call]

    def apply(self) -> None:
        if self.gradient_clip is not None:
            nn.utils.clip_grad_value_(self.model.parameters(), self.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        if self.average is not None:
            self.average.update(self.model)


class Average:
    """Exponential moving average of the weights, buffers copied (Izmailov et al. 2018; Rebuffi
    et al. 2021, https://arxiv.org/abs/2103.01946); `decay` grows from 0.1 in the first steps."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        now = model.state_dict()
        averaged = [name for name, value in now.items() if value.is_floating_point()]
        theirs = [now.pop(name) for name in averaged]
        torch._foreach_lerp_([self.state[name] for name in averaged], theirs, 1 - decay)
        for name, value in now.items():
            self.state[name].copy_(value)


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


EpochEnd = Callable[[dict[str, Any], Trainer], None]


@dataclass(frozen=True)
class How:
    """What `fit` is told beside model, method and data."""

    training: Training
    optimizer: Optimizer
    schedule: Schedule
    runtime: Runtime
    seed: int


def fit(
    model: nn.Module,
    method: Method,
    train: Images,
    validation: Images | None,
    class_counts: Tensor,
    how: How,
    epoch_end: EpochEnd,
) -> Fitted:
    """Train `model` in place. `epoch_end` is told each epoch's row, to log and to save it."""
    epochs = how.training.epochs
    trainer = _trainer(model, len(train), class_counts, how)
    history: list[dict[str, Any]] = []
    kept = Kept(how.training.select)
    seconds = 0.0
    with console.bar("training", trainer.total_steps) as bar:
        for epoch in range(1, epochs + 1):
            began = time.monotonic()
            loss = _epoch(trainer, method, train, how, bar, epoch)
            seconds += time.monotonic() - began
            row: dict[str, Any] = {"epoch": epoch, "step": trainer.steps, "lr": trainer.lr}
            row |= {"train_loss": loss} | _validate(trainer, train, validation, how, epoch)
            row["seconds"] = time.monotonic() - began
            history.append(row)
            kept.consider(row, trainer)
            epoch_end(row, trainer)
    last = weights(trainer)
    best, chosen = (last, epochs) if kept.state is None else (kept.state, kept.epoch)
    return Fitted(history, best, last, chosen, seconds, trainer.steps, len(train) * epochs)


def _trainer(model: nn.Module, examples: int, class_counts: Tensor, how: How) -> Trainer:
    training = how.training
    return Trainer(
        model,
        how.optimizer.build([p for p in model.parameters() if p.requires_grad]),
        class_counts.to(how.runtime.device),
        math.ceil(examples / training.batch_size) * training.epochs,
        training.gradient_clip,
        Average(model, training.ema_decay) if training.ema_decay else None,
    )


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
        score = (clean, robust) if self.select == "best_clean" else (robust, clean)
        if score >= self.score:  # a tie goes to the longer trained
            self.score, self.epoch, self.state = score, row["epoch"], weights(trainer)


def shuffled(
    train: Images, batch_size: int, seed: int, epoch: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's batches in an order that depends on seed and epoch alone."""
    order = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return train.batches(batch_size, torch.randperm(len(train), generator=order), device)


def _epoch(
    trainer: Trainer, method: Method, train: Images, how: How, bar: console.Bar, epoch: int
) -> float:
    """Mean loss over the epoch's batches, weighted by their size."""
    runtime = how.runtime
    batches = shuffled(train, how.training.batch_size, how.seed, epoch, runtime.device)
    trainer.model.train()
    total, count, unseen = torch.zeros((), device=runtime.device), 0, 0
    note = f"epoch {epoch}"
    for number, (x, y) in enumerate(batches):
        for group in trainer.optimizer.param_groups:
            group["lr"] = how.optimizer.lr * how.schedule.factor(trainer.progress)
        low = runtime.precision == "bfloat16"
        with torch.autocast(runtime.device.type, torch.bfloat16, enabled=low):
            loss = method.step(trainer, x, y)
        trainer.batches += 1
        total += loss.detach().float() * len(x)
        count, unseen = count + len(x), unseen + 1
        if number % CHECK_EVERY == CHECK_EVERY - 1:
            _require_finite(total, trainer, epoch)
            note = f"epoch {epoch} loss {float(total) / count:.4f}"
        if unseen == SHOW_EVERY:
            bar.advance(unseen, note)
            unseen = 0
    _require_finite(total, trainer, epoch)
    bar.advance(unseen, note)
    return float(total) / count


def _require_finite(total: Tensor, trainer: Trainer, epoch: int) -> None:
    if not math.isfinite(float(total)):
        raise RunFailure(
            f"The training loss is no longer finite (epoch {epoch}, step {trainer.steps}, learning "
            f"rate {trainer.lr:g}). A smaller optimizer.lr or a warm-up usually mends it."
        )


def weights(trainer: Trainer) -> State:
    """A copy on the CPU of the weights that count: the average if there is one."""
    state = trainer.average.state if trainer.average else trainer.model.state_dict()
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


def _validate(
    trainer: Trainer, train: Images, validation: Images | None, how: How, epoch: int
) -> dict[str, float | None]:
    """Accuracies at the end of an epoch, in eval mode on images without augmentation."""
    names = ("train_accuracy", "validation_clean_accuracy", "validation_robust_accuracy")
    training, runtime, seed = how.training, how.runtime, how.seed
    if epoch % training.validation_every and epoch != training.epochs:
        return dict.fromkeys(names)
    with averaged(trainer):
        drawn = torch.Generator().manual_seed(seed)  # a folder's first images are of one class
        sample = train.plain().subset(torch.randperm(len(train), generator=drawn)[:TRAIN_SAMPLE])
        found: dict[str, float | None] = {"train_accuracy": _clean(trainer.model, sample, runtime)}
        if validation is None:
            return dict.fromkeys(names) | found
        tried = np.flatnonzero(_right(trainer.model, validation, runtime))
        robust = run_attack(
            training.validation_attack,
            "validation",
            trainer.model,
            validation,
            tried,
            seed=seed,
            batch_size=EVALUATION_BATCH,
            device=runtime.device,
        )
        return found | {
            "validation_clean_accuracy": len(tried) / len(validation),
            "validation_robust_accuracy": accuracy(robust),
        }


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
