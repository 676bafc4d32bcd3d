"""What the tests of the attacks share: attacks from the catalogue, and models solved on paper."""

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from torch import Tensor, nn

from robustrun.configuration import plugins
from robustrun.configuration.catalogue import catalogue
from robustrun.configuration.composition import register_resolvers
from robustrun.configuration.decoding import decode
from robustrun.types import Attack

NORMS = ("linf", "l2", "l1")
DUAL = {"linf": 1, "l2": 2, "l1": float("inf")}  # order of the dual norm
EPSILON = {"linf": 0.035, "l2": 0.25, "l1": 0.5}  # most, not all, of the toy's examples fall
SHAPE = (2, 6, 6)


@cache
def from_catalogue(name: str, norm: str, *overrides: str) -> Any:
    """The attack of this YAML file, without the rest of the configuration, at EPSILON."""
    plugins.load()
    register_resolvers()
    GlobalHydra.instance().clear()
    changes = [f"attack.norm={norm}", f"attack.epsilon={EPSILON[norm]}", *overrides]
    with initialize_config_dir(str(catalogue()), version_base="1.3"):
        composed = compose(f"attack/{name}", changes)
    return decode(Attack, OmegaConf.to_container(composed.attack, resolve=True), "attack")


def attack(name: str, norm: str, epsilon: float | None = None, **changes: Any) -> Any:
    """The attack of this YAML file at this radius, with some fields changed."""
    found = from_catalogue(name, norm)
    return replace(found if epsilon is None else found.with_radius(epsilon), **changes)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
    """Images with the labels that the model in eval mode predicts, but for the first `wrong`."""
    x = torch.rand(count, *SHAPE, generator=generator(count))
    x[:, :, 0] = x[:, :, 0].round()  # some pixels are at the edge of the box
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
