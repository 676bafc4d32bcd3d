"""PGD-10 over a set of images: clean predictions, the attack, the verdict on what it returns."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.networks import (
    DEEP,
    PRECISIONS,
    Data,
    called,
    names,
    plain_config,
    runtime_for,
    setting_for,
    trained,
    tuned,
)
from benchmarks.peers import Attacked, pgd_attacks
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.statistics import accuracy
from robustrun.experiment import place

STEPS = 10
GOALS = {"BN CNN": "9x torchattacks", "PreAct ResNet-18": "12x torchattacks"}


def rows(data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    return [row for name in names(settings) for row in _of(name, data, settings, found)]


def _of(name: str, data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    sizes = settings.sizes
    count = sizes.deep_images if name == DEEP else sizes.images
    x, y = data.measured(count, settings.device)
    networks = {" tuned": tuned(trained(name, data, settings))}
    if not settings.quick:
        networks = {"": trained(name, data, settings), **networks}
    contestants = [
        Contestant(f"{peer}{how}", theirs(attack, network, x, y, sizes.batch))
        for peer, attack in pgd_attacks(found, data.epsilon, STEPS).items()
        for how, network in networks.items()
    ]
    for precision in PRECISIONS:
        contestants.append(_ours(name, data, settings, precision, x, y))
    return compare(
        f"PGD-{STEPS} evaluation",
        name,
        contestants,
        rounds=sizes.rounds,
        items=len(x),
        meaning="robust accuracy",
        device=settings.device,
        goal=GOALS.get(name, ""),
    )


def theirs(
    attack: Attacked, model: nn.Module, x: Tensor, y: Tensor, batch: int
) -> Callable[[], float]:
    """A peer's robust accuracy. What is wrong as it is counts as wrong, as it does for us, also if
    it is right under the attack; these clean predictions are not timed."""
    batches = list(zip(torch.split(x, batch), torch.split(y, batch), strict=True))
    with torch.no_grad():
        clean = [model(some).argmax(dim=1) == labels for some, labels in batches]

    def run() -> float:
        torch.manual_seed(0)
        right = 0
        for (some, labels), before in zip(batches, clean, strict=True):
            x_adv = attack(model, some, labels)
            with torch.no_grad():
                right += int(((model(x_adv).argmax(dim=1) == labels) & before).sum())
        return right / len(x)

    return run


def _ours(
    name: str, data: Data, settings: Settings, precision: str, x: Tensor, y: Tensor
) -> Contestant:
    run = evaluation(name, data, settings, precision, (x, y), STEPS, settings.sizes.batch)
    name = called(precision, runtime_for(settings, precision, work=1e12))
    return Contestant(name, run, ours=True)


def evaluation(
    name: str,
    data: Data,
    settings: Settings,
    precision: str,
    measured: tuple[Tensor, Tensor],
    steps: int,
    batch: int,
) -> Callable[[], float]:
    """PGD of so many steps over the images and labels `measured`, as `robustrun` does it."""
    runtime = runtime_for(settings, precision, work=1e12)
    model = trained(name, data, settings)
    place(model, runtime)
    words = [f"attack.epsilon={data.epsilon}", f"attack.steps={steps}", "attack.restarts=1"]
    attack = plain_config(["attack=pgd", *words, f"attack.step_size={data.epsilon / 4}"]).attack
    images = TensorImages(measured[0], measured[1].cpu())

    def run() -> float:
        setting = setting_for(settings, runtime, batch)
        found = measure(model, images, data.classes, accuracies({"pgd": attack}), setting)
        return accuracy(found.worst_case)

    return run
