"""The mode and the buffers of a network: set for a while, then restored."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

BatchNorm = nn.modules.batchnorm._BatchNorm
BnMode = Literal["eval", "train", "train_frozen"]


@contextmanager
def attack_mode(model: nn.Module, bn_mode: BnMode = "eval") -> Iterator[None]:
    """Hold `model` in the mode for an attack, its parameters frozen; restore everything after.

    `eval`: running statistics are used. `train`: batch statistics are used and the running ones
    updated at every forward pass. `train_frozen`: batch statistics are used, running ones kept.
    The mode of each module is restored on its own: a model may hold layers of either mode.
    """
    modes = [(m, m.training) for m in model.modules()]
    trainable = [p for p in model.parameters() if p.requires_grad]
    tracking = [
        m
        for m in model.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    model.train(bn_mode != "eval")
    for parameter in trainable:
        parameter.requires_grad_(False)
    if bn_mode == "train_frozen":
        for layer in tracking:
            layer.track_running_stats = False
    try:
        with torch.enable_grad():
            yield
    finally:
        for layer in tracking:
            layer.track_running_stats = True
        for parameter in trainable:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training


@contextmanager
def left_as_found(model: nn.Module) -> Iterator[None]:
    """Modes and buffers are restored: a batch norm in train mode writes to its buffers."""
    modes = [(m, m.training) for m in model.modules()]
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
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
    """Within it, forward passes in train mode use the batch's statistics and update none."""
    layers = updating_layers(model)
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
