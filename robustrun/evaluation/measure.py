"""Clean and robust accuracy, example by example, with every returned image checked."""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustrun.datasets.border import checked, collected
from robustrun.datasets.checks import require_labels
from robustrun.evaluation.attack_run import attack_result, predict, search_networks
from robustrun.evaluation.curve import accuracy_curve
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.settings import EvaluationPlan
from robustrun.evaluation.statistics import accuracy
from robustrun.models import trial
from robustrun.storage.journal import Journal
from robustrun.types import (
    Attack,
    Images,
)

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
) -> Evaluation:
    """Clean predictions, then every attack, then the attack named `judge` at further `radii`.
    What `journal` has from before is not measured again.

    With `precision` bfloat16, adversarial images are searched with a faster copy of the network;
    what is found is judged on the network itself all the same.
    """
    model.eval()
    began = time.monotonic()
    predictions = predict(model, images, batch_size, device)
    measured = Evaluation(images.labels.numpy(), predictions, classes, time.monotonic() - began)
    log.info("clean accuracy %.2f%%", 100 * accuracy(measured.clean_right))
    how: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "device": device}
    how["journal"] = journal or Journal()
    networks = search_networks(model, images, precision, batch_size, device)
    for name, attack in attacks.items():
        measured.attacks[name] = result = attack_result(
            attack, name, networks, images, measured, how
        )
        log.info("%s accuracy %.2f%%", name, 100 * accuracy(result.robust))
        if count := int((result.no_answer & ~measured.no_answer).sum()):
            log.warning("%s: %d images have logits that are NaN or infinite under it", name, count)
    if judge is not None:
        measured.curve.extend(
            accuracy_curve(judge, attacks[judge], networks, images, measured, radii, how)
        )
    return measured


def evaluate(
    model: nn.Module,
    images: tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]] | Images,
    attacks: Mapping[str, Attack],
    *,
    seed: int = 0,
    batch_size: int = 500,
) -> Evaluation:
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
                f"robustrun.attacks, or like them (robustrun.types.Attack)."
            )


def choose_examples(test: Images, plan: EvaluationPlan) -> tuple[Images, np.ndarray]:
    """The test images to measure and their places in the test set: the same ones for every seed of
    a run, whose accuracies are averaged and compared."""
    count = min(plan.examples or len(test), len(test))
    if plan.examples and plan.examples > count:
        asked = plan.examples
        log.warning("evaluation.examples is %d, but the test set has %d images", asked, count)
    indices = np.arange(count)
    if plan.choose == "random":
        indices = np.sort(np.random.default_rng(0).permutation(len(test))[:count])
    return test.subset(torch.from_numpy(indices)), indices
