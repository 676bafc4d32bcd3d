"""Learners that keep the gradients which they applied."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from robustrun.training.batching import Batching
from robustrun.training.learner import Learner

COUNTS = torch.tensor([500, 100, 20, 10])


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-3)


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@dataclass
class RecordingLearner(Learner):
    """A Learner that keeps the gradients of each step."""

    gradients: list[list[Tensor]] = field(default_factory=list)

    def apply(self) -> None:
        self.gradients.append(gradients(self.model))
        super().apply()


def sgd_learner(
    model: nn.Module, counts: Tensor = COUNTS, progress: float = 1.0, **more: Any
) -> RecordingLearner:
    """SGD with momentum and weight decay, at this share of the run."""
    return RecordingLearner(
        model,
        sgd(model),
        counts.to(next(model.parameters()).device),
        Batching(8),
        total_steps=1000,
        gradient_clip=None,
        average=None,
        batches=round(1000 * progress),
        **more,
    )
