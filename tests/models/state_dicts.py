"""Weights dicts of a small network, under whatever names."""

import torch
from torch import nn

from robustrun.storage.weights import Weights


class Theirs(nn.Module):
    """The same layers under the same names, without normalisation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.layer = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4 * 36, 10)


def state() -> Weights:
    return dict(Theirs().state_dict())


def behind(prefix: str, tensors: Weights | None = None) -> Weights:
    return {f"{prefix}{key}": value for key, value in (tensors or state()).items()}


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
