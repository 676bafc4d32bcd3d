"""The learner: a model, its optimizer, the average of its weights, and its place in training."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.compute import processes
from robustrun.compute.batch_norm import average_statistics
from robustrun.compute.batch_parts import batch_mean, weighted
from robustrun.compute.modes import eval_mode
from robustrun.training.batching import Batching, batching, require_rows
from robustrun.training.optimizers import load_state
from robustrun.training.settings import Training, TrainingPlan
from robustrun.training.weight_average import WeightAverage
from robustrun.training.weight_perturbation import WeightPerturbation
from robustrun.types import Images

State = dict[str, Tensor]


@dataclass
class Learner:
    """The Learner that methods see: one model, its optimizer, and where the run stands."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    class_counts: Tensor
    batching: Batching
    total_steps: int
    gradient_clip: float | None
    average: WeightAverage | None
    weight_perturbation: WeightPerturbation | None = None
    label_smoothing: float = 0.0
    skips: bool = False  # a step whose loss is not finite is left out
    steps: int = 0
    batches: int = 0
    skipped: int = 0
    skipping: bool = False  # the step under way is left out
    smooths: bool = False  # whether the method's loss has a cross-entropy that smooths labels
    memory: dict[str, Any] = field(default_factory=dict)
    base_rates: list[float] = field(init=False)  # of the optimizer's groups, before any schedule

    def __post_init__(self) -> None:
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]

    @property
    def progress(self) -> float:
        return self.batches / self.total_steps

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """All that decides the next step, but for the random generators."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average and self.average.state_dict(),
            "memory": self.memory,
            "steps": self.steps,
            "batches": self.batches,
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = self.class_counts.device
        self.model.load_state_dict(state["model"])
        load_state(self.optimizer, state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.memory |= {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in state["memory"].items()
        }
        self.steps, self.batches = state["steps"], state["batches"]
        self.skipped = state["skipped"]

    def scale_rates(self, factor: float) -> None:
        """Set the learning rate of each parameter group to this multiple of its own."""
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        self.smooths = True
        return F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)

    def minimise(self, loss: Callable[[], Tensor]) -> Tensor:
        """One step down a loss; returns its value where the gradient was taken."""
        perturbation, model = self.weight_perturbation, self.model
        with perturbation.applied(model, loss, self.progress) if perturbation else nullcontext():
            value = loss()
            self.backward(value)
        self.apply()
        return value

    def update(self, loss: Tensor) -> None:
        self.backward(loss)
        self.apply()

    def backward(self, loss: Tensor) -> None:
        self.skipping |= self.skips and not math.isfinite(float(batch_mean(loss)))
        if not self.skipping:
            weighted(loss).backward()  # type: ignore[no-untyped-call]

    def apply(self) -> None:
        if self.skipping:
            self.optimizer.zero_grad(set_to_none=True)
            self.skipped, self.skipping = self.skipped + 1, False
            return
        processes.sum_flat(p.grad for p in self.model.parameters() if p.grad is not None)
        average_statistics(self.model)
        if self.gradient_clip is not None:
            nn.utils.clip_grad_value_(self.model.parameters(), self.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        if self.average is not None:
            self.average.update(self.model, self.progress)


def new_learner(
    model: nn.Module, train: Images, class_counts: Tensor, how: TrainingPlan
) -> Learner:
    training = how.training
    batches = batching(model, len(train), train.shape, training.batch_size)
    if not how.runtime.sync_batchnorm:
        require_rows(model, len(train), train.shape, batches)
    return Learner(
        model,
        how.optimizer.build(model),
        class_counts.to(how.runtime.device),
        batches,
        batches.count(len(train)) * training.epochs,
        training.gradient_clip,
        _average(model, training),
        _weight_perturbation(training),
        training.label_smoothing,
        skips=training.on_nonfinite == "skip",
    )


def _average(model: nn.Module, training: Training) -> WeightAverage | None:
    if training.ema_decay is None:
        return None
    buffers, warmup, start = training.ema_buffers, training.ema_warmup, training.ema_start
    return WeightAverage(model, training.ema_decay, buffers, warmup, start)


def _weight_perturbation(training: Training) -> WeightPerturbation | None:
    size, warmup = training.weight_perturbation, training.weight_perturbation_warmup
    return WeightPerturbation(size, warmup) if size else None


def weights(trainer: Learner) -> State:
    """A copy on the CPU of the weights that count: the average if there is one."""
    state = trainer.average.state if trainer.average else trainer.model.state_dict()
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


@contextmanager
def average_weights_loaded(trainer: Learner) -> Iterator[None]:
    """While open, the model is in eval mode and holds the averaged weights, if any are kept."""
    model, average = trainer.model, trainer.average
    if average is not None:
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(average.state)
    try:
        with eval_mode(model):
            yield
    finally:
        if average is not None:
            model.load_state_dict(own)
