"""The average of a network's weights along its training, with what batch norm is to know there."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from robustrun.compute.batch_norm import average_statistics

Buffers = Literal["average", "copy", "recompute"]


class WeightAverage:
    """Exponential moving average: after each step, state = decay * state + (1 - decay) * network.

    `buffers` is what becomes of batch norm's running statistics, in which recipes differ:
    `average`: they are averaged as the weights are (the FastAT benchmark, NuAT, DAJAT, DKL);
    `copy`: they are the network's own (Rebuffi et al. 2021, https://arxiv.org/abs/2103.01946);
    `recompute`: a pass over the training images computes them for the averaged weights
    (Izmailov et al. 2018, https://arxiv.org/abs/1803.05407), each time that `recompute` is called.

    With `warmup` the decay of the t-th update is at most t / (t + 9). Before the share `start` of
    the run the average is a copy of the network.
    """

    def __init__(
        self, model: nn.Module, decay: float, buffers: Buffers, warmup: bool, start: float
    ) -> None:
        self.decay, self.buffers, self.warmup, self.start = decay, buffers, warmup, start
        self.updates = 0
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}
        parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self.averaged = [
            name
            for name, value in self.state.items()
            if value.is_floating_point() and (buffers == "average" or name in parameters)
        ]

    @torch.no_grad()
    def update(self, model: nn.Module, progress: float) -> None:
        """One more step is done, at this share of the run."""
        now = model.state_dict()
        if progress >= self.start:
            self.updates += 1
            theirs = [now.pop(name) for name in self.averaged]
            mine = [self.state[name] for name in self.averaged]
            torch._foreach_lerp_(mine, theirs, 1 - self._decay())
        self._copy(now)

    def _decay(self) -> float:
        return min(self.decay, self.updates / (self.updates + 9)) if self.warmup else self.decay

    def _copy(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.state[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.state, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        self._copy(state["weights"])

    @torch.no_grad()
    def recompute(self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Running statistics of `model`, which holds the averaged weights: the mean over these
        batches of each batch's mean and unbiased variance."""
        update_bn(batches, model)
        average_statistics(model)
        self._copy(model.state_dict())
