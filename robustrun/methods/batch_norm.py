"""What forward passes in train mode leave in a network's batch normalisation layers, for methods
whose authors run more of them than their loss needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustrun.compute.modes import BatchNorm, updating_layers


def running_statistics(layer: BatchNorm) -> tuple[Tensor, Tensor]:
    """Running mean and variance of a layer that keeps them."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return layer.running_mean, layer.running_var


def kept_share(layer: BatchNorm) -> float:
    """How much of a running statistic remains after one more pass."""
    if layer.momentum is None:
        raise ValueError("batch normalisation without momentum: a pass's share is not constant")
    return 1 - layer.momentum


@dataclass
class Passage:
    """What one forward pass added to each running statistic: after - (1 - momentum) * before."""

    added: list[tuple[BatchNorm, list[Tensor]]] = field(default_factory=list)

    @torch.no_grad()
    def again(self) -> None:
        """Update the running statistics as if the same batch passed once more.

        The logits would be the same, so this stands for a forward pass that only they need.
        """
        for layer, parts in self.added:
            for running, part in zip(running_statistics(layer), parts, strict=True):
                # .data: a backward pass that is still to come holds these tensors, but in train
                # mode does not read them; autograd would object to a change all the same.
                running.data.mul_(kept_share(layer)).add_(part)
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked.add_(1)


@contextmanager
def passage(model: nn.Module) -> Iterator[Passage]:
    """Watch the one forward pass within; what is yielded can repeat it afterwards."""
    layers = updating_layers(model)
    before = [[r.clone() for r in running_statistics(layer)] for layer in layers]
    seen = Passage()
    yield seen
    with torch.no_grad():
        for layer, old in zip(layers, before, strict=True):
            pairs = zip(running_statistics(layer), old, strict=True)
            seen.added.append((layer, [now - kept_share(layer) * was for now, was in pairs]))
