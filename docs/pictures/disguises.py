"""A network as it is, and behind layers that hide its gradient without making it robust."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Rounded(nn.Module):
    """Pixels are rounded to eight grey levels first: the gradient is 0 everywhere."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network((7 * x).round() / 7)


class Saturated(nn.Module):
    """Logits times 1,000: the softmax is 0 or 1, and the gradient of the loss is 0 with it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return 1000 * self.network(x)


class Noisy(nn.Module):
    """Noise on each image in each pass: a gradient points where the next pass will not be."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x + 0.2 * torch.randn_like(x))


DISGUISES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "as it is": lambda network: network,
    "logits x 1,000": Saturated,
    "8 grey levels": Rounded,
    "noise in each pass": Noisy,
}
