"""A small network with batch norm, trained for a moment on the digits, and the digits."""

from functools import cache

import torch
from torch import nn

from robustrun.configuration import composition
from robustrun.configuration.decoding import decode
from robustrun.configuration.run_config import load_config
from robustrun.datasets.tensors import TensorImages
from robustrun.types import Attack


def attack(*words: str) -> Attack:
    raw = composition.compose_config(list(words))
    return decode(Attack, raw["attack"], "attack")  # type: ignore[no-any-return]


@cache
def digits_network() -> nn.Module:
    """Two convolutions with batch norm and a linear layer, in eval mode."""
    torch.manual_seed(0)
    first = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    second = [nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    model = nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(512, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for x, y in digits().batches(64, torch.randperm(1797)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


def digits() -> TensorImages:
    """2,000 images: all 1,797, and the first 203 of them lighter."""
    splits = load_config(composition.compose_config([])).dataset.load()
    parts = [next(part.plain().batches(len(part))) for part in (splits.train, splits.test)]
    x, y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return TensorImages(torch.cat([x, 0.8 * x[:203]]), torch.cat([y, y[:203]]))
