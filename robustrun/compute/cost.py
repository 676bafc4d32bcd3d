"""What a network costs: its arithmetic, counted in one forward pass."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from robustrun.compute.modes import eval_mode


def multiply_adds(
    model: nn.Module, shape: tuple[int, ...], device: torch.device | None = None
) -> float:
    """Multiply-adds of one image's forward pass through convolutions and matrix products; the
    image is made on `device`, where the model is."""
    counter = FlopCounterMode(display=False)
    with eval_mode(model), torch.no_grad(), counter:
        model(torch.zeros(1, *shape, device=device))
    return float(counter.get_total_flops()) / 2
