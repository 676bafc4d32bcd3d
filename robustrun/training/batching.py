"""Which training images make up a batch: each size in order, but none alone where batch norm is.

In training, batch norm needs at least two values a channel. Where its maps are 1 x 1, one image
has one; so if one is left over at the end of an epoch, it joins the batch before.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from robustrun.compute import processes
from robustrun.compute.batch_parts import cut
from robustrun.compute.modes import BatchNorm, modes_restored
from robustrun.errors import ConfigError
from robustrun.types import Images, Shape

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batching:
    """An epoch's images in batches of `size`; the last has what is left, or (`merged`) one more."""

    size: int
    merged: bool = False

    def count(self, images: int) -> int:
        """Batches of an epoch."""
        return math.ceil(images / self.size) - self.merged

    def of(
        self, train: Images, order: Tensor, device: torch.device, skip: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The images in `order`, but for the first `skip` batches."""
        if not self.merged:
            return train.batches(self.size, order, device, skip)
        full, last = order[: -self.size - 1], order[-self.size - 1 :]
        done = min(skip, len(full) // self.size)
        before = train.batches(self.size, full, device, done) if len(full) else iter(())
        return chain(before, train.batches(self.size + 1, last, device, skip - done))


def require_a_batch(batch_size: int, images: int) -> None:
    """ConfigError if there are fewer training images than a batch has."""
    if batch_size > images:
        raise ConfigError(
            f"training.batch_size is {batch_size}, but the training set has {images} images."
        )


def batching(model: nn.Module, images: int, shape: Shape, size: int) -> Batching:
    """Batches of `size` as the network can take them; ConfigError if each would be one image."""
    if size > 1 and images % size != 1:
        return Batching(size)
    layer = norm_of_one(model, shape)
    if layer is None:
        return Batching(size)
    needs = f"batch norm ({layer}, whose maps are 1 x 1) needs at least two images"
    if images == 1:
        raise ConfigError(f"training: there is a single training image, but {needs} in a batch.")
    if size == 1:
        raise ConfigError(f"training.batch_size is 1, but {needs} in a batch: choose 2 or more.")
    log.info("the last batch of an epoch has %d images, not 1: %s", size + 1, needs)
    return Batching(size, merged=True)


def require_rows(model: nn.Module, images: int, shape: Shape, batches: Batching) -> None:
    """ConfigError if batch norm has a single value a channel on one of several processes that do
    not share its statistics."""
    last = images % batches.size + batches.size * batches.merged or batches.size
    if min(batches.size, last) >= 2 * processes.count() or processes.count() == 1:
        return
    if layer := norm_of_one(model, shape):
        raise ConfigError(
            f"device.sync_batchnorm is False, but batch norm ({layer}, whose maps are 1 x 1) needs "
            f"two images on each of {processes.count()} processes, and an epoch's batches have "
            f"{batches.size} and at last {last}. Set it to true, or choose another "
            "training.batch_size."
        )


class _LayerReached(Exception):
    """Ends a forward pass at the layer that was looked for."""


def norm_of_one(model: nn.Module, shape: Shape) -> str | None:
    """The first layer of batch norm that has one value a channel of one image, while it trains."""
    with modes_restored(model):
        model.train()  # frozen layers stay in eval mode
        layers: dict[nn.Module, str] = {
            layer: name
            for name, layer in model.named_modules()
            if isinstance(layer, BatchNorm) and layer.training
        }
        model.eval()  # leaves statistics as they are, and draws nothing
        return _first_with_one_value(model, layers, shape)


def _first_with_one_value(
    model: nn.Module, layers: Mapping[nn.Module, str], shape: Shape
) -> str | None:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            raise _LayerReached(layers[module])

    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    generators = [device] if device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(generators):
            model.forward(torch.full((1, *shape), 0.5, device=device))  # not as compiled
    except _LayerReached as layer:
        return str(layer)
    finally:
        for hook in hooks:
            hook.remove()
    return None


def shuffled(
    train: Images, batches: Batching, seed: int, epoch: int, device: torch.device, skip: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's batches in an order that depends on seed and epoch alone, but for the first
    `skip`; of each, this process's part."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(train), generator=generator)
    return cut(batches.of(train, order, device, skip))
