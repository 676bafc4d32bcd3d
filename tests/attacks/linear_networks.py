"""Linear networks of two classes, images, and how far each image is from the boundary."""

import torch
from torch import Tensor, nn


def linear() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model of two classes, so that there is one boundary; images, and their labels."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    x = 0.3 + 0.4 * torch.rand(20, 3, 2, 2)
    with torch.no_grad():
        model[1].bias -= model(x).mean(dim=0)
    return model, x, model(x).argmax(dim=1)


def solved(model: nn.Module, x: Tensor, y: Tensor, norm: str) -> Tensor:
    """How far the nearest boundary of a linear model is from each image, N."""
    weight, bias = model[1].weight, model[1].bias  # type: ignore[index]
    scores = x.flatten(1) @ weight.T + bias
    gaps = scores.gather(1, y[:, None]) - scores
    slopes = weight[y][:, None] - weight
    lengths = slopes.abs().sum(2) if norm == "linf" else slopes.norm(dim=2)
    return (gaps / lengths.clamp_min(1e-12)).scatter(1, y[:, None], torch.inf).amin(dim=1).detach()
