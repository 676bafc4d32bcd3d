"""Optimizers: how gradients become steps."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from robustrun.compute.eager import eager
from robustrun.errors import ConfigError, require
from robustrun.types import OPTIMIZERS

KINDS = ("fused", "foreach")  # keys of a parameter group: how torch makes the step


@OPTIMIZERS.register("sgd")
@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum; the decay falls on all parameters."""

    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, ">= 0")
        require(
            not self.nesterov or self.momentum > 0, "nesterov", True, "false when momentum is 0"
        )

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return eager(torch.optim.SGD)(
            trainable(model),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            **together(model),
        )


@OPTIMIZERS.register("adamw")
@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101)."""

    lr: float
    betas: tuple[float, float]
    weight_decay: float

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(all(0 <= b < 1 for b in self.betas), "betas", self.betas, "in [0, 1)")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, ">= 0")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return eager(torch.optim.AdamW)(
            trainable(model),
            lr=self.lr,
            betas=self.betas,
            weight_decay=self.weight_decay,
            **together(model),
        )


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained: frozen ones ask for no gradient."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def together(model: nn.Module) -> dict[str, bool]:
    """How torch is to step all parameters together: on CUDA by one kernel for the whole step, else
    by one for each operation."""
    on_cuda = [parameter.is_cuda for parameter in trainable(model)]
    return {"fused": True} if on_cuda and all(on_cuda) else {"foreach": True}


def load_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continue from a state that may come from another device: how this optimizer makes its step
    is its own, whatever the state says."""
    groups = [
        group | {key: own[key] for key in KINDS if key in own}
        for group, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict(state | {"param_groups": groups})


def set_momentum(group: dict[str, Any], momentum: float) -> None:
    """Give a parameter group of an optimizer this momentum; Adam's is the first of its betas."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    elif "momentum" in group:
        group["momentum"] = momentum
    else:
        raise ConfigError(
            "schedule.momentum moves the optimizer's momentum, but this one has none. Choose "
            "schedule.momentum=null, or optimizer=sgd or adamw."
        )
