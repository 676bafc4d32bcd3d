"""AutoAttack (standard) over a set of images, beside the authors' code."""

import torch

from benchmarks.networks import Data, plain_config, runtime_for, trained
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.statistics import accuracy
from robustrun.experiment import place
from robustrun.types import Attack

PARTS = {"apgd_ce": "apgd-ce", "apgd_t": "apgd-t", "fab_t": "fab-t", "square": "square"}


def rows(data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    """The whole; if asked for, each part, too, on all images classified right."""
    parts = ("", *PARTS) if settings.parts else ("",)
    return [row for part in parts for row in _of(part, data, settings, found)]


def _of(part: str, data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    sizes = settings.sizes
    contestants = [_official(part, data, settings)] if "AutoAttack" in found else []
    contestants += [_ours(part, data, settings, p) for p in ("float32", "bfloat16")]
    return compare(
        f"AutoAttack: {part}" if part else "AutoAttack",
        "BN CNN",
        contestants,
        rounds=sizes.slow_rounds,
        items=sizes.autoattack_images,
        meaning="robust accuracy",
        device=settings.device,
        goal="" if part else "6x the official code" if settings.device.type == "cpu" else "8x",
        warm=False,
    )


def _official(part: str, data: Data, settings: Settings) -> Contestant:
    from autoattack import AutoAttack

    model = trained("BN CNN", data, settings)
    x, y = data.measured(settings.sizes.autoattack_images, settings.device)
    words = {"norm": "Linf", "eps": data.epsilon, "seed": settings.seed, "verbose": False}
    version = {"version": "custom", "attacks_to_run": [PARTS[part]]} if part else {}
    attack = AutoAttack(model, **words, **version, device=settings.device)
    attack.apgd.n_restarts = attack.fab.n_restarts = 1  # `custom` would leave them at 5
    attack.square.n_queries = settings.queries

    def run() -> float:
        x_adv = attack.run_standard_evaluation(x, y, bs=settings.sizes.batch)
        with torch.no_grad():
            right = [
                model(some).argmax(dim=1) == labels
                for some, labels in zip(torch.split(x_adv, 500), torch.split(y, 500), strict=True)
            ]
        return float(torch.cat(right).float().mean())

    return Contestant("AutoAttack", run)


def _ours(part: str, data: Data, settings: Settings, precision: str) -> Contestant:
    runtime = runtime_for(settings, precision, work=1e12)
    model = trained("BN CNN", data, settings)
    place(model, runtime)
    x, y = data.measured(settings.sizes.autoattack_images, settings.device)
    attack, images = _attack(part, data, settings), TensorImages(x, y.cpu())

    def run() -> float:
        setting = Setting(settings.seed, settings.sizes.batch, settings.device, precision)
        measured = measure(model, images, data.classes, accuracies({"attack": attack}), setting)
        return accuracy(measured.worst_case)

    return Contestant(f"robustrun {precision}", run, ours=True)


def _attack(part: str, data: Data, settings: Settings) -> Attack:
    words = [f"attack={part or 'autoattack'}", f"attack.epsilon={data.epsilon}"]
    if settings.queries != 5000:  # then it is not AutoAttack, and must not be called so
        key = {"": "attack.attacks.square.queries", "square": "attack.queries"}.get(part)
        words += [f"{key}={settings.queries}"] if key else []
        words += ["attack.name=ensemble", "~attack.version"] if part == "" else []
    return plain_config(words).attack
