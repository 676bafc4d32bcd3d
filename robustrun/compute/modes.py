"""The mode and the buffers of a network: set for a while, then restored."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import MethodType
from typing import Literal

import torch
from torch import nn

BatchNorm = nn.modules.batchnorm._BatchNorm
BnMode = Literal["eval", "train", "train_frozen"]


@contextmanager
def modes_restored(model: nn.Module) -> Iterator[None]:
    """In this context, modes may be changed; the mode of each module is restored on its own, since
    a model may hold layers of either mode."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """In this context, `model` is in eval mode."""
    with modes_restored(model):
        model.eval()
        yield


@contextmanager
def attack_mode(model: nn.Module, bn_mode: BnMode = "eval") -> Iterator[None]:
    """Hold `model` in the mode for an attack, its parameters frozen; restore everything after.

    `eval`: running statistics are used. `train`: batch statistics are used and the running ones
    updated at every forward pass. `train_frozen`: batch statistics are used, running ones kept.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    keep = statistics_kept if bn_mode == "train_frozen" else nullcontext
    with modes_restored(model):
        model.train(bn_mode != "eval")
        for parameter in trainable:
            parameter.requires_grad_(False)
        try:
            with torch.enable_grad(), keep(model):
                yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)


@contextmanager
def modes_and_buffers_restored(model: nn.Module) -> Iterator[None]:
    """Modes and buffers are restored: a batch norm in train mode writes to its buffers."""
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    with modes_restored(model):
        try:
            yield
        finally:
            for buffer, value in buffers:
                buffer.detach().copy_(value)


def updating_layers(model: nn.Module) -> list[BatchNorm]:
    """The layers whose running statistics change with every forward pass now."""
    return [
        m
        for m in model.modules()
        if isinstance(m, BatchNorm) and m.training and m.track_running_stats
    ]


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """In this context, passes in train mode use the batch's statistics and update none."""
    with _without_tracking(updating_layers(model)):
        yield


@contextmanager
def _without_tracking(layers: list[BatchNorm]) -> Iterator[None]:
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def stay_in_eval(layer: BatchNorm) -> None:
    """From now on the layer keeps its statistics: `train()` leaves it in eval mode, and
    `reset_running_stats()` (of update_bn) does nothing."""
    vars(layer)["train"] = MethodType(_eval, layer)  # copies of the layer have their own
    vars(layer)["reset_running_stats"] = MethodType(_nothing, layer)
    layer.train()


def _eval(layer: BatchNorm, mode: bool = True) -> BatchNorm:
    layer.training = False
    return layer


def _nothing(layer: BatchNorm) -> None:
    pass
