"""What a network costs: its arithmetic, counted in one forward pass."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Multiply-adds of one image's forward pass through convolutions and matrix products."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *shape))
    for module, training in modes:
        module.training = training
    return float(counter.get_total_flops()) / 2
