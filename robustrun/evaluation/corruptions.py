"""Accuracy under common corruptions, and how often perturbations flip an answer (Hendrycks &
Dietterich 2019, https://arxiv.org/abs/1903.12261). No adversary chose these: they are reported
apart from robust accuracy.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from robustrun.compute.predictions import NO_ANSWER
from robustrun.datasets import corruptions
from robustrun.datasets.checks import require_labels
from robustrun.datasets.corruptions import CorruptedImages, PerturbationSequences
from robustrun.errors import DataError
from robustrun.evaluation.clean import predict
from robustrun.evaluation.findings import CorruptionResult, FlipResult
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.settings import Corruptions, EvaluationPlan, Perturbations
from robustrun.evaluation.statistics import accuracy
from robustrun.types import Images, Shape, Splits

log = logging.getLogger(__name__)

Predicted = Callable[[Images, str], np.ndarray]  # images and their name -> predicted classes


def corrupted(plan: Corruptions, examples: int | None) -> Iterable[CorruptedImages]:
    """The corrupted images that `plan` names; DataError if a file is missing or damaged."""
    names = plan.names or corruptions.CORRUPTIONS
    return corruptions.corrupted(plan.root, names, plan.severities, examples)


def perturbed(
    plan: Perturbations, test: Images, examples: int | None
) -> Iterable[PerturbationSequences]:
    """The sequences that `plan` names; DataError if a file is missing or damaged."""
    names = plan.names or corruptions.PERTURBATIONS
    return corruptions.perturbed(plan.root, test.labels, names, examples)


def check(plan: EvaluationPlan, splits: Splits) -> None:
    """DataError, before any work, unless the files are there and fit the run's data."""
    if splits.left_out and (plan.corruptions or plan.perturbations):
        raise DataError(
            "evaluation.corruptions and evaluation.perturbations have the test images of all "
            "classes: they cannot be measured with dataset.classes."
        )
    height, width, channels = corruptions.PIXELS
    if plan.corruptions is not None:
        _require_fit("corruptions", splits, (channels, height, width))
        first = next(iter(corrupted(plan.corruptions, None)))  # labels are all the same
        classes = splits.classes if splits.class_table is None else len(splits.class_table)
        require_labels(first.images.labels, classes, "evaluation.corruptions", "class names")
        _require_same_test_set(_as_seen(first.images.labels, splits), splits.test.labels)
    if plan.perturbations is not None:
        _require_fit("perturbations", splits, (channels, height, width))
        perturbed(plan.perturbations, splits.test, plan.examples)


def _require_fit(key: str, splits: Splits, shape: Shape) -> None:
    if splits.test.shape != shape:
        raise DataError(
            f"evaluation.{key} measures images of 3 x 32 x 32, but this run's are "
            f"{' x '.join(map(str, splits.test.shape))}: it needs dataset=cifar10 or its like."
        )


def _require_same_test_set(stored: Tensor, test: Tensor) -> None:
    """DataError if the files have as many images as the test set, and other labels."""
    if len(stored) != len(test):
        log.warning(
            "evaluation.corruptions has %d images a severity, the test set %d: whether they are of "
            "the same classes in the same order cannot be seen",
            len(stored),
            len(test),
        )
    elif not torch.equal(stored, test):
        raise DataError(
            f"evaluation.corruptions has other labels than the run's test set for "
            f"{int((stored != test).sum())} of {len(test)} images: it is another data set's (the "
            f"files of CIFAR-10-C go with dataset=cifar10, of CIFAR-100-C with dataset=cifar100)."
        )


def _as_seen(labels: Tensor, splits: Splits) -> Tensor:
    """The files' labels as the measured network counts its classes."""
    return labels if splits.class_table is None else splits.class_table[labels]


@dataclass(frozen=True)
class CorruptionAccuracy:
    """Accuracy on corrupted test images."""

    plan: Corruptions
    examples: int | None  # of each severity
    splits: Splits

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        parts = corrupted(self.plan, self.examples)
        predictions = partial(_predictions, subject, setting)
        return replace(before, corruptions=_corruptions(predictions, parts, self.splits))


@dataclass(frozen=True)
class FlipRate:
    """How often the frames of a perturbation sequence change the answer."""

    plan: Perturbations
    examples: int | None
    splits: Splits

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        sequences = perturbed(self.plan, self.splits.test, self.examples)
        predictions = partial(_predictions, subject, setting)
        return replace(before, perturbations=_perturbations(predictions, sequences))


def _predictions(subject: Subject, setting: Setting, images: Images, name: str) -> np.ndarray:
    known = setting.journal.recall(f"corruption {name}")
    if known is None:
        network, size = subject.network, setting.batch_size
        known = predict(network, images, size, setting.device).tolist()
        setting.journal.note(f"corruption {name}", known)
    return np.array(known)


def _corruptions(
    predicted: Predicted, parts: Iterable[CorruptedImages], splits: Splits
) -> CorruptionResult:
    """Accuracy at each severity, each corruption's mean over them, the mean over corruptions."""
    began = time.monotonic()
    shares: dict[str, dict[str, float]] = {}
    missing = 0  # images whose logits are not finite
    for part in parts:
        predictions = predicted(part.images, f"{part.corruption} {part.severity}")
        share = accuracy(predictions == _as_seen(part.images.labels, splits).numpy())
        missing += int((predictions == NO_ANSWER).sum())
        shares.setdefault(part.corruption, {})[str(part.severity)] = share
        log.info("%s at severity %d: %.2f%%", part.corruption, part.severity, 100 * share)
    each = {name: float(np.mean(list(share.values()))) for name, share in shares.items()}
    mean = float(np.mean(list(each.values())))
    return CorruptionResult(mean, each, shares, missing, time.monotonic() - began)


def _perturbations(predicted: Predicted, sequences: Iterable[PerturbationSequences]) -> FlipResult:
    """Flip rate of each perturbation, and their mean."""
    began = time.monotonic()
    rates: dict[str, float] = {}
    missing = 0  # images whose logits are not finite
    for sequence in sequences:
        predictions = predicted(sequence.images, sequence.perturbation)
        rate = corruptions.flip_rate(predictions, sequence.frames, sequence.perturbation)
        missing += int((predictions == NO_ANSWER).sum())
        rates[sequence.perturbation] = rate
        log.info("%s flips %.2f%%", sequence.perturbation, 100 * rate)
    mean = float(np.mean(list(rates.values())))
    return FlipResult(mean, rates, missing, time.monotonic() - began)
