"""An evaluation: the list of its measurements, made one after the other."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustrun.compute.cost import multiply_adds
from robustrun.datasets.border import checked, collected
from robustrun.datasets.checks import require_labels
from robustrun.devices import guest
from robustrun.evaluation.audit.audit import Audit
from robustrun.evaluation.certificate import CertifiedRadii
from robustrun.evaluation.clean import CleanAccuracy
from robustrun.evaluation.corruptions import CorruptionAccuracy, FlipRate
from robustrun.evaluation.curve import AccuracyCurve
from robustrun.evaluation.measurement import Measurement, Subject
from robustrun.evaluation.outcome import Evaluation, nothing_measured
from robustrun.evaluation.robust_accuracy import RobustAccuracy
from robustrun.evaluation.search_networks import search_networks
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.settings import EvaluationPlan
from robustrun.models import trial
from robustrun.types import ATTACKS, Attack, Images, Splits

log = logging.getLogger(__name__)
PLACE = "images given to evaluate"


def measure(
    model: nn.Module,
    images: Images,
    classes: int,
    measurements: Iterable[Measurement],
    setting: Setting,
) -> Evaluation:
    """Every measurement in turn; each may use what the ones before it found. Whatever precision
    adversarial images are searched in, they are judged on the network itself."""
    subject = Subject(search_networks(model.eval(), images, setting), images, classes)
    evaluation = nothing_measured(images, classes)
    for measurement in measurements:
        evaluation = measurement.measure(subject, evaluation, setting)
    return evaluation


def accuracies(attacks: Mapping[str, Attack]) -> list[Measurement]:
    """Clean accuracy, then that under each attack."""
    return [CleanAccuracy(), *(RobustAccuracy(name, attack) for name, attack in attacks.items())]


def measurements(
    plan: EvaluationPlan, attacks: Mapping[str, Attack], judge: str, splits: Splits
) -> list[Measurement]:
    """What a run measures at its end: with all of `attacks`, of which `judge` is its own."""
    examples = plan.examples
    entries = accuracies(attacks)
    entries.append(AccuracyCurve(judge, attacks[judge], plan.radii))
    if plan.audit is not None:
        entries.append(Audit(judge, attacks[judge], plan.audit))
    if plan.corruptions is not None:
        entries.append(CorruptionAccuracy(plan.corruptions, examples, splits))
    if plan.perturbations is not None:
        entries.append(FlipRate(plan.perturbations, examples, splits))
    if plan.certificate is not None:
        entries.append(CertifiedRadii(plan.certificate))
    return entries


def evaluate(
    model: nn.Module,
    images: tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]] | Images,
    attacks: Mapping[str, Attack],
    *,
    seed: int = 0,
    batch_size: int = 500,
    precision: str = "auto",
    threads: int | None = None,
) -> Evaluation:
    """Measure any classifier of [0, 1] images: the Python side of the command line.

    `images` are tensors (x, y), a loader of batches (x, y), which is read once, or an Images of
    ours. The model is tried first (`robustrun.models.trial`); it stays on its device, and in eval
    mode. `precision` and `threads` as `robustrun.devices.guest.set_up` says, for this call alone.
    Returns per-example results; `accuracy(measured.worst_case)` is the number to quote. TypeError
    or ValueError for what cannot be measured.
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
    work = _work(model, checked_images, device) * min(batch_size, len(checked_images))
    with guest.set_up(device, precision, threads, work) as (chosen, copies):
        setting = Setting(seed, batch_size, device, chosen, copies)
        return measure(model, checked_images, classes, accuracies(attacks), setting)


def _work(model: nn.Module, images: Images, device: torch.device) -> float:
    """Multiply-adds of an image; 0, as if it were a small network, where they cannot be counted."""
    try:
        return multiply_adds(model, images.shape, device)
    except Exception as error:  # a foreign network that torch's counter does not come through
        log.info("the operations of the network cannot be counted: %s", trial.reason(error))
        return 0.0


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
        if lacks := ATTACKS.missing(attack):
            raise TypeError(
                f"The attack {name!r} is a {type(attack).__name__}, but must be one of "
                f"robustrun.attacks, or like them (robustrun.types.Attack). It lacks {lacks}."
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
    elif count < len(test):
        _warn_of_first(test.labels, count)
    return test.subset(torch.from_numpy(indices)), indices


def _warn_of_first(labels: Tensor, count: int) -> None:
    """A warning where the first images are of the first classes alone, as in folders."""
    in_order = bool((labels[1:] >= labels[:-1]).all())
    taken, there = (len(set(part.tolist())) for part in (labels[:count], labels))
    if in_order and taken < min(count, there):  # some of a class, and none of another
        log.warning(
            "evaluation.choose=first: the test images lie in the order of their classes, and the "
            "first %d are of %d of the %d classes; evaluation.choose=random takes some of all",
            *(count, taken, there),
        )
