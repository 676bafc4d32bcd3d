"""How long, in which batches and with which options is trained."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from robustrun.errors import require
from robustrun.types import Attack, Optimizer, Runtime, Schedule

Select = Literal["best_robust", "best_clean", "last"]


@dataclass(frozen=True)
class Recipe:
    """What a method's authors trained with; other keys take their defaults from here."""

    epochs: int
    batch_size: int
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    milestones: tuple[float, ...]
    gamma: float
    warmup: float
    gradient_clip: float | None
    label_smoothing: float
    weight_perturbation: float
    weight_perturbation_warmup: float
    ema_decay: float | None
    select: Select


@dataclass(frozen=True)
class Training:
    """How long and in which portions the training goes, what comes with each of its steps whatever
    the method, and which weights are kept."""

    ADDED_LATER: ClassVar[dict[str, Any]] = {
        "seconds": None,
        "freeze": [],
        "ema_buffers": "average",
        "ema_warmup": True,
        "ema_start": 0.0,
    }

    epochs: int
    seconds: float | None  # for the steps, which `epochs` are at most; see time_limit
    batch_size: int
    freeze: Literal["all_but_head"] | tuple[str, ...]  # see robustrun.training.freezing
    validation_fraction: float
    validation_every: int
    select: Select
    warmup: float  # share of the run in which rates grow linearly from 0
    gradient_clip: float | None
    label_smoothing: float  # s: s / K for every class, and 1 - s more for the label's
    weight_perturbation: float  # see robustrun.training.weight_perturbation; 0: none
    weight_perturbation_warmup: float
    ema_decay: float | None
    ema_buffers: Literal["average", "copy", "recompute"]  # see robustrun.training.weight_average
    ema_warmup: bool
    ema_start: float
    on_nonfinite: Literal["stop", "skip"]
    on_collapse: Literal["warn", "stop", "restore"]
    checkpoint_minutes: float
    checkpoint_steps: int | None
    validation_attack: Attack | None  # None: no robust accuracy on the validation split

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        limit = self.seconds
        require(limit is None or 0 < limit < math.inf, "seconds", limit, "above 0, or null")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        share = self.validation_fraction
        require(0 <= share < 1, "validation_fraction", share, "at least 0 and below 1")
        require(self.validation_every >= 1, "validation_every", self.validation_every, ">= 1")
        require(0 <= self.warmup < 1, "warmup", self.warmup, "a share of the run, in [0, 1)")
        smoothing, size = self.label_smoothing, self.weight_perturbation
        require(0 <= smoothing < 1, "label_smoothing", smoothing, "at least 0 and below 1")
        require(size >= 0, "weight_perturbation", size, "a share of each weight's norm, >= 0")
        until = self.weight_perturbation_warmup
        require(0 <= until <= 1, "weight_perturbation_warmup", until, "in [0, 1], of the run")
        clip, decay = self.gradient_clip, self.ema_decay
        require(clip is None or clip > 0, "gradient_clip", clip, "above 0, or null")
        require(decay is None or 0 < decay < 1, "ema_decay", decay, "between 0 and 1, or null")
        require(0 <= self.ema_start < 1, "ema_start", self.ema_start, "at least 0 and below 1")
        minutes, steps = self.checkpoint_minutes, self.checkpoint_steps
        require(minutes > 0, "checkpoint_minutes", minutes, "above 0")
        require(steps is None or steps >= 1, "checkpoint_steps", steps, "at least 1, or null")
        restores = self.on_collapse == "restore"
        require(
            not (restores and self.select == "best_clean"),
            "on_collapse",
            self.on_collapse,
            "warn or stop when select is best_clean: the weights to go back to are the most robust",
        )


@dataclass(frozen=True)
class TrainingPlan:
    """What `fit` gets besides model, method and data."""

    training: Training
    optimizer: Optimizer
    schedule: Schedule
    runtime: Runtime
    seed: int
