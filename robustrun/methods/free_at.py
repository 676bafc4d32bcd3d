"""Free adversarial training (Shafahi et al. 2019, https://arxiv.org/abs/1904.12843)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustrun.attacks.geometry.ball import check_threat_model, project, steepest
from robustrun.compute.batch_parts import all_rows, own_rows, whole_like
from robustrun.errors import require
from robustrun.types import METHODS, Learner


@METHODS.register("free_at")
@dataclass(frozen=True)
class FreeAT:
    """`replays` updates on each batch; every backward pass moves the weights and the images.

    The perturbation is kept from one batch to the next (`keep`), so that the first replay meets a
    new batch with the last one's perturbation. That may leave the image box by up to epsilon, as it
    does in the code of Wong et al. (2020, https://arxiv.org/abs/2001.03994), whose recipe this is;
    Shafahi et al. clamp to the box before the network. A shorter batch uses and moves the first
    rows of the perturbation.
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # radius in training, pixel units
    step_size: float  # pixel units
    replays: int  # m in the paper
    keep: bool  # whether the perturbation outlives its batch

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.step_size >= 0, "step_size", self.step_size, "a step >= 0 in pixel units")
        require(self.replays >= 1, "replays", self.replays, "at least 1")

    def step(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        """Returns the last replay's loss."""
        delta = self._perturbation(learner, x)
        for _ in range(self.replays):
            x_adv = (x + delta).requires_grad_()
            loss = learner.cross_entropy(learner.model(x_adv), y)
            learner.backward(loss)
            delta = self._moved(x, x_adv)
            learner.apply()
        if self.keep:
            moved = all_rows(delta)
            learner.memory["delta"][: len(moved)] = moved
        return loss

    def _perturbation(self, learner: Learner, x: Tensor) -> Tensor:
        """Where this batch starts; the first batch sets how much is remembered."""
        if not self.keep:
            return torch.zeros_like(x)
        none = whole_like(x).zero_()
        kept: Tensor = learner.memory.get("delta", none)
        if len(kept) < len(none):
            kept = torch.cat([kept, none[len(kept) :]])
        learner.memory["delta"] = kept
        return own_rows(kept[: len(none)])

    def _moved(self, x: Tensor, x_adv: Tensor) -> Tensor:
        assert x_adv.grad is not None
        moved = x_adv.detach() + self.step_size * steepest(x_adv.grad, self.norm)
        return project(moved, x, self.norm, self.epsilon) - x
