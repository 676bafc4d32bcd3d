"""Small networks and images for them, some with worst cases that are solved on paper."""

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from robustrun.losses import margin

NORMS = ("linf", "l2", "l1")
DUAL = {"linf": 1, "l2": 2, "l1": float("inf")}  # order of the dual norm
EPSILON = {"linf": 0.035, "l2": 0.25, "l1": 0.5}  # most, not all, images of `batch` fall
SHAPE = (2, 6, 6)


def generator(seed: int = 0, device: torch.device | None = None) -> torch.Generator:
    return torch.Generator(device or torch.device("cpu")).manual_seed(seed)


@cache
def _trained(classes: int) -> nn.Module:
    torch.manual_seed(classes)
    model = nn.Sequential(
        nn.Conv2d(SHAPE[0], 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * SHAPE[1] * SHAPE[2], classes),
    )
    images = torch.rand(64, *SHAPE)
    model(images)  # running statistics that are not the identity
    with torch.no_grad():
        logits = model.eval()(images)
        model[-1].bias -= logits.mean(dim=0)  # every class is predicted somewhere
        model[-1].weight *= 3
        model[-1].bias *= 3
    return model.train()


def network(classes: int = 5) -> nn.Module:
    """A small network with batch normalisation, in train mode, as training would hand it over."""
    return copy.deepcopy(_trained(classes))


def batch(model: nn.Module, count: int = 8, wrong: int = 0) -> tuple[Tensor, Tensor]:
    """Images with the labels that the model in eval mode predicts, but for the first `wrong`;
    where the model is."""
    x = torch.rand(count, *SHAPE, generator=generator(count))
    x[:, :, 0] = x[:, :, 0].round()  # some pixels are at the edge of the box
    x = x.to(next(model.parameters()).device)
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(x)
    y = logits.argmax(dim=1)
    y[:wrong] = (y[:wrong] + 1) % logits.shape[1]
    return x, y


def right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(x).argmax(dim=1) == y


class Linear(nn.Module):
    """Logits w_k · x + b_k: the distance to every boundary is known."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


class Detached(nn.Module):
    """A model through which no gradient flows back."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.detach()).detach()


class Counting(nn.Module):
    """Counts how many images pass through."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seen = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.model(x)


def two_classes(count: int = 40) -> tuple[Linear, torch.Tensor, torch.Tensor, torch.Tensor, Any]:
    """A model of two classes, images far from the box with the labels it gives, and margins."""
    torch.manual_seed(0)
    model = Linear(torch.randn(2, 48), torch.zeros(2))
    x = 0.5 + 0.02 * torch.randn(count, 3, 4, 4)
    logits = model(x)
    y = logits.argmax(dim=1)
    slope = model.weight[1] - model.weight[0]
    return model, x, y, (logits[:, 1] - logits[:, 0]).abs().detach(), slope.detach()


def margin_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return margin(copy.deepcopy(model).eval()(x), y)


def tanh_network() -> tuple[nn.Module, Tensor, Tensor]:
    """A small network, images, and the labels it predicts for them."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Tanh(), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 3)
    ).eval()
    x = torch.rand(12, 3, 8, 8)
    with torch.no_grad():
        model[4].weight *= 2
        model[4].bias -= model(x).mean(dim=0)  # every class is predicted somewhere
    return model, x, model(x).argmax(dim=1)
