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


@dataclass(frozen=True)
class CleanAccuracy:
    """The first measurement of every evaluation: all others compare with it."""

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        began = time.monotonic()
        predictions = predict(subject.network, subject.images, setting.batch_size, setting.device)
        seconds = time.monotonic() - began
        evaluation = replace(before, predictions=predictions, seconds=seconds)
        log.info("clean accuracy %.2f%%", 100 * accuracy(evaluation.clean_right))
        return evaluation


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
