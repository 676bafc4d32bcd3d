"""Attacks from the catalogue and from their classes, with little effort."""

from dataclasses import replace
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from attacks.small_networks import EPSILON, NORMS
from robustrun.attacks.ensemble import Ensemble
from robustrun.attacks.fast_lpa import FastLPA
from robustrun.attacks.fmn import FMN
from robustrun.attacks.lpa import LPA
from robustrun.attacks.perceptual.lpips import LPIPS
from robustrun.attacks.ppgd import PPGD
from robustrun.attacks.recolor import ReColorAdv
from robustrun.attacks.stadv import StAdv
from robustrun.configuration import plugins
from robustrun.configuration.catalogue import catalogue
from robustrun.configuration.composition import register_resolvers
from robustrun.configuration.decoding import decode
from robustrun.types import Attack


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


FEW: dict[str, dict[str, Any]] = {  # every part, at an effort for tests
    "apgd_ce": {"steps": 12},
    "apgd_dlr": {"steps": 12},
    "apgd_t": {"steps": 8, "targets": 2},
    "fab": {"steps": 6, "restarts": 2},
    "fab_t": {"steps": 6, "targets": 2},
    "square": {"queries": 60},
}
PARTS = [(name, norm) for name in FEW for norm in NORMS]


def part(name: str, norm: str) -> Any:
    return attack(name, norm, **FEW[name])


def ensemble(norm: str, names: tuple[str, ...] = ("apgd_ce", "apgd_t", "fab_t", "square")) -> Any:
    return Ensemble(norm, EPSILON[norm], {name: part(name, norm) for name in names})


def fmn(**changes: object) -> FMN:
    settings = {
        "norm": "linf",
        "epsilon": 0.1,
        "steps": 100,
        "alpha": 1.0,
        "alpha_final": 0.01,
        "gamma": 0.05,
        "gamma_final": 0.001,
    }
    return FMN(**(settings | changes))  # type: ignore[arg-type]


def stadv(**changes: object) -> StAdv:
    settings = {"bound": 0.1, "steps": 30, "lr": 0.01, "smoothness": 0.0}
    return StAdv("linf", 0.1, **(settings | changes))  # type: ignore[arg-type]


def recolor(**changes: object) -> ReColorAdv:
    settings = {"bound": 0.06, "steps": 30, "lr": 0.01, "smoothness": 0.0, "lattice": (4, 5, 6)}
    return ReColorAdv("linf", 0.1, **(settings | changes))  # type: ignore[arg-type]


SELF = LPIPS("self", None, None)
RANDOM_ALEXNET = LPIPS("alexnet_cifar", "random", None)
BOUND = 0.3


def lpa(lpips: LPIPS = SELF, **changes: float) -> LPA:
    settings = {"steps": 10, "rounds": 3, "penalty": 0.01, "confidence": 1.0, "probe": 0.1}
    settings |= {"start_std": 0.01} | changes
    return LPA(norm="linf", epsilon=0.1, bound=BOUND, lpips=lpips, **settings)


def ppgd(lpips: LPIPS = SELF, **changes: float) -> PPGD:
    settings = {"steps": 10, "step_size": BOUND / 5, "cg_steps": 5, "confidence": 1.0}
    return PPGD("linf", 0.1, BOUND, probe=1e-3, start_std=0.01, lpips=lpips, **(settings | changes))


def fast_lpa(lpips: LPIPS = SELF) -> FastLPA:
    return FastLPA("linf", 0.1, BOUND, 10, 10.0, 0.1, 0.01, lpips)


def with_bound(attack, bound: float):
    """The attack in another ball; PPGD's step keeps its share of it."""
    if not isinstance(attack, PPGD):
        return replace(attack, bound=bound)
    return replace(attack, bound=bound, step_size=attack.step_size / attack.bound * bound)
