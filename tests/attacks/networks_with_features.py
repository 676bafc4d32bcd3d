"""A network that shows its activations, and its LPIPS features written out."""

import math

import torch
from torch import Tensor, nn


class TwoStages(nn.Module):
    """Two activations, the first with and the second without a ReLU, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 4)

    def with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        one = self.norm(self.first(x - 0.5)).relu()
        two = self.second(one)
        return self.head(two.mean(dim=(2, 3))), [one, two]

    def forward(self, x: Tensor) -> Tensor:
        return self.with_features(x)[0]


def network(dtype: torch.dtype = torch.float64) -> TwoStages:
    torch.manual_seed(0)
    model, images = TwoStages(), torch.rand(64, 3, 8, 8)
    model(images)  # running statistics that are not the identity
    with torch.no_grad():
        model.head.weight *= 10
        model.head.bias -= model.eval()(images).mean(dim=0)  # every class is predicted somewhere
    return model.train().to(dtype)


def batch(model: nn.Module, count: int = 6) -> tuple[Tensor, Tensor]:
    """Images, and the labels that the model in eval mode predicts for them."""
    torch.manual_seed(1)
    x = torch.rand(count, 3, 8, 8, dtype=next(model.parameters()).dtype)
    training = model.training
    y = model.eval()(x).argmax(dim=1)
    model.train(training)
    return x, y


def written_out_features(model: TwoStages, x: Tensor) -> Tensor:
    vectors = []
    for phi in model.with_features(x)[1]:
        norm = (phi**2).sum(1, keepdim=True).sqrt() + 1e-10
        vectors.append((phi / norm / math.sqrt(phi.shape[2] * phi.shape[3])).flatten(1))
    return torch.cat(vectors, 1)


def written_out_distance(model: TwoStages, a: Tensor, b: Tensor) -> Tensor:
    return ((written_out_features(model, a) - written_out_features(model, b)) ** 2).sum(1).sqrt()
