"""Accuracy against the radius of the attack."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from robustrun.evaluation.attack_run import SearchNetworks, attack_result, batch_generator
from robustrun.evaluation.outcome import Evaluation
from robustrun.types import Attack, FindsDistances, Images, Rescalable

log = logging.getLogger(__name__)


def accuracy_curve(
    name: str,
    attack: Attack,
    networks: SearchNetworks,
    images: Images,
    measured: Evaluation,
    radii: Iterable[float],
    how: dict[str, Any],
) -> Iterator[tuple[float, np.ndarray]]:
    """(radius, still robust) upwards; what falls at a small radius stays fallen at a larger one."""
    if not isinstance(attack, Rescalable) or not attack.bounded:
        log.info("no accuracy against radius: %s has no radius to change", name)
        return
    standing = measured.clean_right.copy()
    yield 0.0, standing.copy()
    if attack.epsilon == 0:
        log.info("no accuracy against radius: every multiple of the radius 0 is 0")
        return
    away = _distances(name, attack, networks.model, images, how)
    for multiple in sorted({1.0, *radii}):
        radius = attack.epsilon * multiple
        if attack.norm == "linf" and radius > 1:
            log.info("radii above 1 are not measured: such a ball holds every image")
            return
        if multiple == 1.0:
            standing &= measured.attacks[name].robust
        if away is not None:
            standing &= away > radius
        elif multiple != 1.0:
            # What has fallen counts as wrong already, and is not tried again.
            left = replace(measured, predictions=np.where(standing, measured.labels, -1))
            label = f"{name} at {_exactly(multiple)} x radius"
            other = attack_result(attack.with_radius(radius), label, networks, images, left, how)
            standing &= other.robust
        yield radius, standing.copy()
        if not standing.any():
            return


def _exactly(number: float) -> str:
    """Short where that is exact: two radii never share a name, which the journal knows them by."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _distances(
    name: str, attack: Attack, model: nn.Module, images: Images, how: dict[str, Any]
) -> np.ndarray | None:
    """How far each image is from a mistake, of an attack that finds that in one run; else None."""
    if not isinstance(attack, FindsDistances):
        return None
    parts = []
    for number, (x, y) in enumerate(images.batches(how["batch_size"], device=how["device"])):
        label = f"{name} distances batch {number}"
        known = how["journal"].recall(label)
        if known is None:
            generator = batch_generator(how["seed"], f"{name} distances", number, how["device"])
            known = attack.minimal_distances(model, x, y, generator=generator)[1].tolist()
            how["journal"].note(label, known)
        parts.append(np.array(known))
    return np.concatenate(parts) if parts else np.zeros(0)
