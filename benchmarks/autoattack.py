"""AutoAttack (standard) over a set of images, beside the authors' code."""

from typing import Any

import torch
from torch import nn

from benchmarks.networks import (
    PRECISIONS,
    Data,
    called,
    plain_config,
    runtime_for,
    setting_for,
    trained,
    tuned,
)
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.statistics import accuracy
from robustrun.experiment import place
from robustrun.types import Attack

PARTS = {"apgd_ce": "apgd-ce", "apgd_t": "apgd-t", "fab_t": "fab-t", "square": "square"}
EFFORT = {"apgd_ce": ("steps", 100), "apgd_t": ("steps", 100), "fab_t": ("steps", 100)}
EFFORT |= {"square": ("queries", 5000)}


def rows(data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    """The whole; if asked for, each part, too, on all images classified right."""
    networks = settings.networks or ("BN CNN",)
    parts, official = ("", *PARTS) if settings.parts else ("",), "AutoAttack" in found
    compare_each = [(name, data, settings, official, part) for name in networks for part in parts]
    return [row for each in compare_each for row in compared(*each)]


def compared(
    name: str, data: Data, settings: Settings, with_official: bool, part: str = ""
) -> list[Row]:
    """AutoAttack, or a part of it, on the network `name`."""
    sizes, given = settings.sizes, (part, name, data, settings)
    contestants = [official(*given)] if with_official and not settings.quick else []
    contestants += [official(*given, for_speed=True)] if with_official else []
    contestants += [ours(*given, precision) for precision in PRECISIONS]
    return compare(
        _work(part, settings.effort),
        name,
        contestants,
        rounds=sizes.slow_rounds,
        items=sizes.autoattack_images,
        meaning="robust accuracy",
        device=settings.device,
        goal="" if part else "6x the official code" if settings.device.type == "cpu" else "8x",
        warm=False,
    )


def _work(part: str, effort: float) -> str:
    whole = f"AutoAttack: {part}" if part else "AutoAttack"
    return whole if effort == 1 else f"{whole}, {effort:.0%} of its steps and queries"


def official(
    part: str, name: str, data: Data, settings: Settings, for_speed: bool = False
) -> Contestant:
    """The authors' code on the network as it is, or on one that suits it better."""
    model = trained(name, data, settings)
    if for_speed:
        model = tuned(model)
    x, y = data.measured(settings.sizes.autoattack_images, settings.device)
    attack = official_attack(part, model, data.epsilon, settings)

    def run() -> float:
        x_adv = attack.run_standard_evaluation(x, y, bs=settings.sizes.batch)
        with torch.no_grad():
            right = [
                model(some).argmax(dim=1) == labels
                for some, labels in zip(torch.split(x_adv, 500), torch.split(y, 500), strict=True)
            ]
        return float(torch.cat(right).float().mean())

    return Contestant("AutoAttack tuned" if for_speed else "AutoAttack", run)


def official_attack(part: str, model: nn.Module, epsilon: float, settings: Settings) -> Any:
    """The authors' AutoAttack (standard, Linf), or a part of it."""
    from autoattack import AutoAttack

    words = {"norm": "Linf", "eps": epsilon, "seed": settings.seed, "verbose": False}
    version = {"version": "custom", "attacks_to_run": [PARTS[part]]} if part else {}
    attack = AutoAttack(model, **words, **version, device=settings.device)
    attack.apgd.n_restarts = attack.fab.n_restarts = 1  # `custom` would leave them at 5
    for each in (attack.apgd, attack.apgd_targeted, attack.fab):
        each.n_iter = _lessened(100, settings)
    attack.square.n_queries = _lessened(5000, settings)
    return attack


def ours(part: str, name: str, data: Data, settings: Settings, precision: str) -> Contestant:
    runtime = runtime_for(settings, precision, work=1e12)
    model = trained(name, data, settings)
    place(model, runtime)
    x, y = data.measured(settings.sizes.autoattack_images, settings.device)
    chosen, images = attack(part, data.epsilon, settings), TensorImages(x, y.cpu())

    def run() -> float:
        setting = setting_for(settings, runtime, settings.sizes.batch)
        measured = measure(model, images, data.classes, accuracies({"attack": chosen}), setting)
        return accuracy(measured.worst_case)

    return Contestant(called(precision, runtime), run, ours=True)


def attack(part: str, epsilon: float, settings: Settings) -> Attack:
    """Ours, of the same kind."""
    words = [f"attack={part or 'autoattack'}", f"attack.epsilon={epsilon}"]
    if settings.effort != 1:  # then it is not AutoAttack, and must not be called so
        for name in [part] if part else PARTS:
            key, whole = EFFORT[name]
            place = "" if part else f"attacks.{name}."
            words.append(f"attack.{place}{key}={_lessened(whole, settings)}")
        words += [] if part else ["attack.name=ensemble", "~attack.version"]
    return plain_config(words).attack


def _lessened(steps: int, settings: Settings) -> int:
    return max(round(settings.effort * steps), 1)
