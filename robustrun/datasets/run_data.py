"""The data of a run: loaded, seen as the measured network sees it, cut, and fingerprinted."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustrun.datasets.border import checked_splits
from robustrun.datasets.checks import SHOWN
from robustrun.datasets.repeated import tell_repeated
from robustrun.datasets.validation import cut_validation
from robustrun.errors import listed
from robustrun.types import Dataset, Images, Splits

log = logging.getLogger(__name__)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Data:
    """What is trained on, chosen by, and measured."""

    splits: Splits
    train: Images
    validation: Images | None
    examples: Images  # test images that are measured
    places: np.ndarray  # where they stand in the test set, int64
    class_counts: Tensor  # training images of each class, int64 of shape K
    fingerprints: dict[str, str | None]  # of the content of train, validation and test


def load(
    dataset: Dataset,
    validation_fraction: float,
    seed: int,
    choose: Callable[[Images], tuple[Images, np.ndarray]],
    view: Callable[[Splits], Splits] | None = None,
) -> Data:
    """The data set to train on, or to be measured as `view` shows it: then training images may be
    missing. `choose` gives the test images that are measured, and their places."""
    splits = checked_splits(dataset.load(), to_train=view is None)
    if view is None:
        tell_repeated(splits.train, splits.test)
    else:
        splits = view(splits)
    train, validation = cut_validation(splits, validation_fraction, seed)
    examples, places = choose(splits.test)
    # Decoded now, if into memory, so that a damaged file is named before anything is trained.
    examples = examples.to(CPU)
    if view is None:
        train = train.to(CPU)
        validation = None if validation is None else validation.to(CPU)
    class_counts = torch.bincount(train.labels, minlength=splits.classes)
    if view is None:
        _tell_missing(class_counts, splits.class_names)
    parts = {"train": train, "validation": validation, "test": splits.test}
    prints = {name: None if part is None else part.fingerprint() for name, part in parts.items()}
    return Data(splits, train, validation, examples, places, class_counts, prints)


def _tell_missing(class_counts: Tensor, class_names: tuple[str, ...]) -> None:
    """Warn of classes that a training cannot learn."""
    counted = zip(class_names, class_counts.tolist(), strict=True)
    if missing := [name for name, count in counted if count == 0]:
        log.warning(
            "no training images are left of %s: these classes are not learnt (the validation "
            "images, training.validation_fraction, are cut off first)",
            listed(map(repr, missing), SHOWN),
        )
