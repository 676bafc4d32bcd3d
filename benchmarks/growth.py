"""How the cost of attacks grows: with steps, images, batch, network, image size and classes; ours
alone. The last row of each series has the exponent p of seconds ~ size^p."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from benchmarks.networks import Data, plain_config, runtime_for, small_network
from benchmarks.pgd_evaluation import evaluation
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.statistics import accuracy
from robustrun.experiment import place
from robustrun.types import Attack, Runtime

Size = TypeVar("Size", int, float)

PRECISION = "auto"  # what a user gets
USUAL = {"steps": 10, "images": 512, "batch": 128}  # of which one at a time is changed
CHANGES: dict[str, tuple[int, ...]] = {
    "steps": (5, 10, 20, 40),
    "images": (128, 256, 512, 1024),
    "batch": (16, 32, 128, 512),
}
# No image is fooled within this radius, so that each one takes all steps.
TINY_RADIUS = 1e-6
WIDTHS = (0.5, 1.0, 2.0, 4.0)  # multiples of the small network's channels
SIDES = (32, 64, 128, 224)  # pixels
CLASSES = (10, 100, 1000)
SIDE, STANDING = 32, 32  # pixels of a side, images: of those that none is fooled of
PGD = ["attack=pgd", "attack.steps=10", "attack.restarts=1"]
BY_CLASSES = {
    "APGD-T, 9 targets": ["attack=apgd_t", "attack.steps=5"],
    "FAB-T, 9 targets": ["attack=fab", "attack.targets=9", "attack.steps=2", "attack.restarts=1"],
    "FAB, nearest class": ["attack=fab", "attack.targets=0", "attack.steps=1", "attack.restarts=1"],
}


def rows(data: Data, settings: Settings) -> list[Row]:
    result: list[Row] = []
    for key, all_values in CHANGES.items():
        values = series_of(all_values, settings)
        series = [_evaluated("BN CNN", data, settings, USUAL | {key: value}) for value in values]
        sizes = [row.items for row in series] if key == "images" else values
        result += with_exponent(key, sizes, series)
    if settings.deep and not settings.quick:
        result.append(_evaluated("PreAct ResNet-18", data, settings, USUAL, share=1 / 8))
    runtime = runtime_for(settings, "float32", work=1e12)
    for direction in (_by_parameters, _by_size, _by_classes):
        result += direction(settings, runtime)
    return result


def series_of(sizes: tuple[Size, ...], settings: Settings) -> tuple[Size, ...]:
    """The sizes that are measured: for a first impression two, without the largest."""
    return (sizes[0], sizes[-2]) if settings.quick else sizes


def with_exponent(key: str, sizes: Sequence[float], series: list[Row]) -> list[Row]:
    """The rows, the last one with the slope of log(seconds) over log(size), by least squares."""
    logs = [math.log(size) for size in sizes], [math.log(row.seconds) for row in series]
    slope = statistics.linear_regression(*logs).slope
    return [*series[:-1], replace(series[-1], meaning=f"exponent of {key}", found=slope)]


def _evaluated(
    name: str, data: Data, settings: Settings, sizes: dict[str, int], share: float = 1.0
) -> Row:
    """PGD on a trained network, whose images leave once they fool it."""
    share *= min(settings.sizes.images / USUAL["images"], 1.0)  # fewer where all is smaller
    measured = data.measured(max(int(sizes["images"] * share), 2), settings.device)
    steps, batch = sizes["steps"], sizes["batch"]
    run = evaluation(name, data, settings, PRECISION, measured, steps, batch)
    work = f"growth: {steps} steps, {len(measured[0])} images, batch {batch}"
    taken = runtime_for(settings, PRECISION, work=1e12).precision
    return _timed(work, name, taken, run, len(measured[0]), settings)


def _by_parameters(settings: Settings, runtime: Runtime) -> list[Row]:
    attack, series, parameters = _attack(PGD), [], []
    for width in series_of(WIDTHS, settings):
        network = small_network(3, 10, width)
        parameters.append(float(sum(weight.numel() for weight in network.parameters())))
        work = f"growth: {parameters[-1]:,.0f} parameters, PGD-10"
        series.append(_standing(work, network, attack, SIDE, settings, runtime))
    return with_exponent("parameters", parameters, series)


def _by_size(settings: Settings, runtime: Runtime) -> list[Row]:
    attack, series, sides = _attack(PGD), [], series_of(SIDES, settings)
    for side in sides:
        work = f"growth: {side} x {side} pixels, PGD-10"
        series.append(_standing(work, small_network(3, 10), attack, side, settings, runtime))
    return with_exponent("pixels", [side * side for side in sides], series)


def _by_classes(settings: Settings, runtime: Runtime) -> list[Row]:
    result, counts = [], series_of(CLASSES, settings)
    for name, words in BY_CLASSES.items():
        attack, series = _attack(words), []
        for classes in counts:
            work, network = f"growth: {name}, {classes:,} classes", small_network(3, classes)
            series.append(_standing(work, network, attack, SIDE, settings, runtime))
        result += with_exponent("classes", counts, series)
    return result


def _attack(words: list[str]) -> Attack:
    return plain_config([*words, f"attack.epsilon={TINY_RADIUS}"]).attack


def _standing(
    work: str, network: nn.Module, attack: Attack, side: int, settings: Settings, runtime: Runtime
) -> Row:
    """An attack on random images, none of which it fools: an evaluation in float32."""
    count = max(int(STANDING * min(settings.sizes.images / USUAL["images"], 1.0)), 2)
    drawn = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(settings.seed))
    x, network = drawn.to(settings.device), network.eval().to(settings.device)
    with torch.no_grad():
        logits = network(x)
    images = TensorImages(x, logits.argmax(dim=1).cpu())
    place(network, runtime)
    setting = Setting(settings.seed, count, settings.device, "float32")

    def run() -> float:
        measured = measure(network, images, logits.shape[1], accuracies({"it": attack}), setting)
        return accuracy(measured.worst_case)

    return _timed(work, "BN CNN", "float32", run, count, settings)


def _timed(
    work: str,
    name: str,
    precision: str,
    run: Callable[[], float],
    images: int,
    settings: Settings,
) -> Row:
    (row,) = compare(
        work,
        name,
        [Contestant(f"robustrun {precision}", run, ours=True)],
        rounds=settings.sizes.rounds,
        items=images,
        meaning="robust accuracy",
        device=settings.device,
    )
    return row
