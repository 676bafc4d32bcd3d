"""Clean accuracy: what the network takes each image for as it is."""

import logging
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from robustrun import console
from robustrun.compute import processes
from robustrun.compute.modes import eval_mode
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.shards import batches_of, own
from robustrun.evaluation.statistics import accuracy
from robustrun.types import Images

log = logging.getLogger(__name__)
NOT_FINITE = (
    "the network has no answer for %d of %d images: their logits are NaN or infinite. Each counts "
    "as wrong, of its own kind (non_finite). Look for a division by zero, the logarithm of 0 or an "
    "overflow of half precision before any of its numbers is believed."
)
FEWEST = 20  # images: of fewer, chance decides
GUESSED = (
    "%d of %d clean images are right, which is no better than always giving the most frequent "
    "class (%d): robust accuracies of this network say little. If it is good elsewhere, its "
    "classes may have another order than those of the data set (dataset.classes=[…] gives one), "
    "or its images another normalisation (model.mean, model.std)."
)
REORDERED = "Its classes have another order: were its answers renumbered, %d of %d would be right."


@dataclass(frozen=True)
class CleanAccuracy:
    """The first measurement of every evaluation: all others compare with it."""

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        began = time.monotonic()
        predictions = predict(subject.network, subject.images, setting.batch_size, setting.device)
        seconds = time.monotonic() - began
        evaluation = replace(before, predictions=predictions, seconds=seconds)
        log.info("clean accuracy %.2f%%", 100 * accuracy(evaluation.clean_right))
        _warn_of_guessing(predictions, subject.images.labels.cpu().numpy())
        return evaluation


def _warn_of_guessing(predictions: np.ndarray, labels: np.ndarray) -> None:
    """A warning where answers are no better than one answer for all images of several classes."""
    frequent = int(np.bincount(labels).max(initial=0))
    right = int((predictions == labels).sum())
    if right > frequent or frequent == len(labels) or len(labels) < FEWEST:
        return
    log.warning(GUESSED, right, len(labels), frequent)
    renumbered = _right_if_renumbered(predictions, labels)
    if renumbered > max(2 * frequent, len(labels) / 2):
        log.warning(REORDERED, renumbered, len(labels))


def _right_if_renumbered(predictions: np.ndarray, labels: np.ndarray) -> int:
    """How many images are right where each answer is taken for the class that it most often is; 0
    where two answers are most often the same class."""
    own = [labels[predictions == answer] for answer in np.unique(predictions)]
    counts = [np.bincount(of_an_answer) for of_an_answer in own]
    meant = {int(count.argmax()) for count in counts}
    return sum(int(count.max()) for count in counts) if len(meant) == len(counts) else 0


@torch.no_grad()
def predict(model: nn.Module, images: Images, batch_size: int, device: torch.device) -> np.ndarray:
    """Predicted classes in eval mode, int64 of shape N; the model's mode is restored.

    Images whose logits are not finite are predicted as NO_ANSWER, and warned of.
    """
    order = torch.arange(len(images))
    numbers = list(range(-(-len(images) // batch_size)))

    def mine() -> list[int]:
        stream = batches_of(images, order, own(numbers), batch_size, device)
        parts = []
        with eval_mode(model), console.bar("predictions", len(images), images=1) as bar:
            for x, _ in stream:
                parts.append(predicted(model(x)))
                bar.advance(len(x))
        answers: list[int] = torch.cat(parts).tolist() if parts else []
        return answers

    predictions = np.zeros(len(images), dtype=np.int64)
    for rank, answers in enumerate(processes.combined(mine)):
        parts = torch.split(order, batch_size)[rank :: processes.count()]
        predictions[torch.cat([order[:0], *parts]).numpy()] = answers
    if count := int((predictions == NO_ANSWER).sum()):
        log.warning(NOT_FINITE, count, len(predictions))
    return predictions
