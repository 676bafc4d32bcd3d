"""What a network costs: its arithmetic, counted in one forward pass."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from robustrun.compute.modes import eval_mode


def multiply_adds(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Multiply-adds of one image's forward pass through convolutions and matrix products."""
    counter = FlopCounterMode(display=False)
    with eval_mode(model), torch.no_grad(), counter:
        model(torch.zeros(1, *shape))
    return float(counter.get_total_flops()) / 2
