"""Accuracy against the radius of the attack."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from robustrun import console
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.robust_accuracy import attack_result
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.shards import batches_of, findings
from robustrun.types import Attack, FindsDistances, Rescalable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AccuracyCurve:
    """The attack `name`, which was measured before, at these multiples of its radius."""

    name: str
    attack: Attack
    radii: tuple[float, ...]

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        points = accuracy_curve(self.name, self.attack, subject, before, self.radii, setting)
        return replace(before, curve=tuple(points))


def accuracy_curve(
    name: str,
    attack: Attack,
    subject: Subject,
    before: Evaluation,
    radii: Iterable[float],
    setting: Setting,
) -> Iterator[tuple[float, np.ndarray]]:
    """(radius, still robust) upwards; what is fooled at a radius is fooled at any larger one."""
    if not isinstance(attack, Rescalable) or not attack.bounded:
        log.info("no accuracy against radius: %s has no radius to change", name)
        return
    robust = before.clean_right.copy()
    yield 0.0, robust.copy()
    if attack.epsilon == 0:
        log.info("no accuracy against radius: every multiple of the radius 0 is 0")
        return
    away = _distances(name, attack, subject, setting)
    for multiple in sorted({1.0, *radii}):
        radius = attack.epsilon * multiple
        if attack.norm == "linf" and radius > 1:
            log.info("radii above 1 are not measured: such a ball holds every image")
            return
        if multiple == 1.0:
            robust &= before.attacks[name].robust
        if away is not None:
            robust &= away > radius
        elif multiple != 1.0:
            # What is fooled counts as wrong already, and is not tried again.
            left = replace(before, predictions=np.where(robust, before.labels, -1))
            label = f"{name} at {_exactly(multiple)} x radius"
            other = attack_result(attack.with_radius(radius), label, subject, left, setting)
            robust &= other.robust
        yield radius, robust.copy()
        if not robust.any():
            return


def _exactly(number: float) -> str:
    """Short where that is exact: two radii never share a name, which the journal knows them by."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _distances(name: str, attack: Attack, subject: Subject, setting: Setting) -> np.ndarray | None:
    """How far each image is from a mistake, of an attack that finds that in one run; else None."""
    if not isinstance(attack, FindsDistances):
        return None
    order = torch.arange(len(subject.images))

    def work(numbers: list[int]) -> Iterator[tuple[int, list[float]]]:
        size, device = setting.batch_size, setting.device
        stream = batches_of(subject.images, order, numbers, size, device)
        with console.bar(f"distances by {name}", len(numbers)) as bar:
            for number, (x, y) in zip(numbers, stream, strict=True):
                generator = setting.generator(f"{name} distances", number)
                distances = attack.minimal_distances(subject.network, x, y, generator=generator)[1]
                yield number, distances.tolist()
                bar.advance()

    count = -(-len(order) // setting.batch_size)
    keys = [f"{name} distances batch {number}" for number in range(count)]
    parts = [np.array(known) for known in findings(keys, work, setting.journal)]
    return np.concatenate(parts) if parts else np.zeros(0)
