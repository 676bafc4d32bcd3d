"""Accuracy under common corruptions, and how often perturbations flip an answer (Hendrycks &
Dietterich 2019, https://arxiv.org/abs/1903.12261). No adversary chose these: they are reported
apart from robust accuracy.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robustrun.compute.predictions import NO_ANSWER
from robustrun.console import step
from robustrun.datasets import corruptions
from robustrun.datasets.checks import require_labels
from robustrun.datasets.corruption_archives import FOLDERS, fetched
from robustrun.datasets.corruption_folders import (
    corrupted_folders,
    holds_folders,
    listing_digest,
)
from robustrun.datasets.corruptions import CorruptedImages, PerturbationSequences
from robustrun.datasets.relabelled import Relabelled
from robustrun.errors import DataError
from robustrun.evaluation.clean import predict
from robustrun.evaluation.findings import CorruptionResult, FlipResult
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.settings import Corruptions, EvaluationPlan, Perturbations
from robustrun.evaluation.statistics import accuracy
from robustrun.types import Images, Splits

log = logging.getLogger(__name__)

IMAGENET_CLASSES = 1000
Predicted = Callable[[Images, str], np.ndarray]  # images and their name -> predicted classes


def corrupted(plan: Corruptions, splits: Splits, examples: int | None) -> Iterable[CorruptedImages]:
    """The corrupted images that `plan` names, with labels as the measured network counts its
    classes; DataError if a file is missing or damaged. Arrays or folders, as it is there."""
    root, names = _fetched(plan), plan.names or corruptions.CORRUPTIONS
    if not _in_folders(plan):
        parts = corruptions.corrupted(str(root), names, plan.severities, examples)
        return (_as_seen(part, splits) for part in parts)
    classes, shape = _class_folders(splits), splits.test.shape
    return corrupted_folders(root, names, plan.severities, classes, shape, examples)


def _class_folders(splits: Splits) -> list[str]:
    folders = splits.class_folders or {}
    return [folders.get(name, name) for name in splits.class_names]


def folder_digests(plan: Corruptions, splits: Splits) -> dict[str, str]:
    """For each corruption whose images lie in folders, its folder's name and what shows that they
    are others; empty where they are arrays."""
    if not _in_folders(plan):
        return {}
    root, classes = _fetched(plan), _class_folders(splits)
    with step(f"listing the images of {root}"):
        return {
            str(root / name): listing_digest(root, name, plan.severities, classes)
            for name in plan.names or corruptions.CORRUPTIONS
        }


def perturbed(
    plan: Perturbations, test: Images, examples: int | None
) -> Iterable[PerturbationSequences]:
    """The sequences that `plan` names; DataError if a file is missing or damaged."""
    names = plan.names or corruptions.PERTURBATIONS
    root = fetched(plan.root, names, "evaluation.perturbations.root", plan.download)
    return corruptions.perturbed(str(root), test.labels, names, examples)


def _fetched(plan: Corruptions) -> Path:
    names = plan.names or corruptions.CORRUPTIONS
    corruptions.check_names(names)
    return fetched(plan.root, names, "evaluation.corruptions.root", plan.download)


def _in_folders(plan: Corruptions) -> bool:
    """Whether the images lie in class folders, as ImageNet-C's, and not in arrays."""
    root = Path(plan.root).expanduser().absolute()
    return root.name in FOLDERS or holds_folders(root, plan.names or corruptions.CORRUPTIONS)


def check(plan: EvaluationPlan, splits: Splits) -> None:
    """DataError, before any work, unless the files are there and fit the run's data."""
    if plan.corruptions is not None and _in_folders(plan.corruptions):
        corrupted(plan.corruptions, splits, None)
    elif plan.corruptions is not None:
        folders = f" There are no class folders {plan.corruptions.root}/NAME/SEVERITY/CLASS either."
        _require_fit("corruptions", splits, folders)
        _check_arrays(plan.corruptions, splits)
    if plan.perturbations is not None:
        _require_fit("perturbations", splits)
        perturbed(plan.perturbations, splits.test, plan.examples)


def _check_arrays(plan: Corruptions, splits: Splits) -> None:
    root, names = _fetched(plan), plan.names or corruptions.CORRUPTIONS
    first = next(iter(corruptions.corrupted(str(root), names, plan.severities)))  # labels are equal
    classes = splits.classes if splits.class_table is None else len(splits.class_table)
    require_labels(first.images.labels, classes, "evaluation.corruptions", "class names")
    _require_same_test_set(_as_seen(first, splits).images.labels, splits.test.labels)


def _require_fit(key: str, splits: Splits, more: str = "") -> None:
    """DataError, which ends with `more`, unless the run's images are those of CIFAR, of all its
    classes."""
    height, width, channels = corruptions.PIXELS
    if splits.test.shape != (channels, height, width):
        raise DataError(
            f"evaluation.{key} measures images of 3 x 32 x 32, but this run's are "
            f"{' x '.join(map(str, splits.test.shape))}: it needs dataset=cifar10 or its like."
            f"{more}"
        )
    if splits.left_out:
        raise DataError(
            f"evaluation.{key} has the test images of all classes in one array: it cannot be "
            f"measured with dataset.classes."
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


def _as_seen(part: CorruptedImages, splits: Splits) -> CorruptedImages:
    """The images with the files' labels as the measured network counts its classes."""
    if splits.class_table is None:
        return part
    return part._replace(images=Relabelled(part.images, splits.class_table))


@dataclass(frozen=True)
class CorruptionAccuracy:
    """Accuracy on corrupted test images."""

    plan: Corruptions
    examples: int | None  # of each severity
    splits: Splits

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        parts = corrupted(self.plan, self.splits, self.examples)
        predictions = partial(_predictions, subject, setting)
        found = _corruptions(predictions, parts)
        if _in_folders(self.plan) and {*self.plan.severities} == {*corruptions.SEVERITIES}:
            error = _relative_error(found, self.splits)
            found = replace(found, mean_corruption_error=error)
        return replace(before, corruptions=found)


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


def _relative_error(found: CorruptionResult, splits: Splits) -> float | None:
    """mCE, which is of all of ImageNet's classes."""
    if splits.classes != IMAGENET_CLASSES:
        return None
    return corruptions.mean_corruption_error(found.by_corruption)


def _corruptions(predicted: Predicted, parts: Iterable[CorruptedImages]) -> CorruptionResult:
    """Accuracy at each severity, each corruption's mean over them, the mean over corruptions."""
    began = time.monotonic()
    shares: dict[str, dict[str, float]] = {}
    missing = 0  # images whose logits are not finite
    for part in parts:
        predictions = predicted(part.images, f"{part.corruption} {part.severity}")
        share = accuracy(predictions == part.images.labels.numpy())
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
