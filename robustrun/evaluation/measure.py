"""Clean and robust accuracy, example by example, with every returned image checked."""

import dataclasses
import hashlib
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun import console
from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.search.ascent import input_gradient
from robustrun.attacks.search.cascade import call_attack, judged, verdict
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.compute.search_copy import FoldedCopy, as_bfloat16, search_copy
from robustrun.compute.threads import single_threaded_between_passes, thread_parallel
from robustrun.datasets.border import checked, collected, require_labels
from robustrun.errors import DataError
from robustrun.models import trial
from robustrun.models.trial import same_values
from robustrun.storage.journal import Journal
from robustrun.types import (
    ATTACKS,
    Attack,
    FindsDistances,
    HasEffectiveSettings,
    HasOwnUnit,
    Images,
    Rescalable,
    Staged,
    TakesCopy,
)
from robustrun.evaluation.statistics import accuracy
from robustrun.evaluation.outcome import AttackResult
from robustrun.evaluation.outcome import Measured
from robustrun.evaluation.checks import _check_untouched
from robustrun.evaluation.checks import _state
from robustrun.evaluation.checks import check_images
from robustrun.evaluation.attack_run import SearchNetworks
from robustrun.evaluation.attack_run import _one
from robustrun.evaluation.attack_run import batch_generator
from robustrun.evaluation.attack_run import predict
from robustrun.evaluation.attack_run import search_networks
from robustrun.evaluation.curve import _curve

log = logging.getLogger(__name__)
PLACE = "images given to evaluate"








































def measure(
    model: nn.Module,
    images: Images,
    classes: int,
    attacks: Mapping[str, Attack],
    *,
    seed: int,
    batch_size: int,
    device: torch.device,
    precision: str = "float32",
    radii: Iterable[float] = (),
    judge: str | None = None,
    journal: Journal | None = None,
) -> Measured:
    """Clean predictions, then every attack, then the attack named `judge` at further `radii`.
    What `journal` has from before is not measured again.

    With `precision` bfloat16, adversarial images are searched with a faster copy of the network;
    what is found is judged on the network itself all the same.
    """
    model.eval()
    began = time.monotonic()
    predictions = predict(model, images, batch_size, device)
    measured = Measured(images.labels.numpy(), predictions, classes, time.monotonic() - began)
    log.info("clean accuracy %.2f%%", 100 * accuracy(measured.clean_right))
    how: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "device": device}
    how["journal"] = journal or Journal()
    networks = search_networks(model, images, precision, batch_size, device)
    for name, attack in attacks.items():
        measured.attacks[name] = result = _one(attack, name, networks, images, measured, how)
        log.info("%s accuracy %.2f%%", name, 100 * accuracy(result.robust))
        if count := int((result.no_answer & ~measured.no_answer).sum()):
            log.warning("%s: %d images have logits that are NaN or infinite under it", name, count)
    if judge is not None:
        measured.curve.extend(_curve(judge, attacks[judge], networks, images, measured, radii, how))
    return measured












def evaluate(
    model: nn.Module,
    images: tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]] | Images,
    attacks: Mapping[str, Attack],
    *,
    seed: int = 0,
    batch_size: int = 500,
) -> Measured:
    """Measure any classifier of [0, 1] images: the Python side of the command line.

    `images` are tensors (x, y), a loader of batches (x, y), which is read once, or an Images of
    ours. The model is tried first (`robustrun.models.trial`); it stays on its device, and in eval
    mode. Returns per-example results; `accuracy(measured.worst_case)` is the number to quote.
    TypeError or ValueError for what cannot be measured.
    """
    _require_types(model, attacks)
    checked_images = _images(images)
    tensors = [*model.parameters(), *model.buffers()]
    device = next((t.device for t in tensors), torch.device("cpu"))
    x, _ = next(checked_images.batches(trial.IMAGES, device=device))
    x = x[torch.arange(trial.IMAGES, device=device) % len(x)]
    model = trial.tried(model, x, None, type(model).__name__).eval()
    with torch.no_grad():
        classes = model(x).shape[1]
    require_labels(checked_images.labels, classes, PLACE, "logits of the network")
    trial.require_gradient(model, x, attacks)
    how: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "device": device}
    return measure(model, checked_images, classes, attacks, **how)


def _images(images: Any) -> Images:
    """Whatever `evaluate` takes as images, checked at the border."""
    if isinstance(images, tuple) and len(images) == 2 and isinstance(images[0], Tensor):
        return collected([images], PLACE)
    if hasattr(images, "batches"):
        return checked(images, PLACE)
    if not isinstance(images, Iterable):
        raise TypeError(
            f"{PLACE} are a {type(images).__name__}, but must be tensors (x, y), a loader of "
            f"batches (x, y), or an Images."
        )
    return collected(images, PLACE)


def _require_types(model: Any, attacks: Any) -> None:
    """TypeError unless there is a module, and attacks by name."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"The model is a {type(model).__name__}, but must be a torch.nn.Module, from images in "
            f"[0, 1] to logits."
        )
    if not isinstance(attacks, Mapping):
        raise TypeError(
            f'The attacks are a {type(attacks).__name__}, but must be a mapping: {{"pgd": attack}}.'
        )
    for name, attack in attacks.items():
        if not callable(attack) or not hasattr(attack, "adversarial"):
            raise TypeError(
                f"The attack {name!r} is a {type(attack).__name__}, but must be one of "
                f"robustrun.attacks, or alike (robustrun.types.Attack)."
            )
