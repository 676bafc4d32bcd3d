"""The data of a run: loaded, seen as the measured network sees it, cut, and fingerprinted."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustrun.config import RunConfig
from robustrun.datasets.border import checked_splits
from robustrun.datasets.validation import cut_validation
from robustrun.errors import ConfigError
from robustrun.types import Images, Splits


@dataclass(frozen=True)
class Data:
    """What is trained on, chosen by, and measured."""

    splits: Splits
    train: Images
    validation: Images | None
    class_counts: Tensor  # training images of each class, int64 of shape K
    fingerprints: dict[str, str | None]  # of the content of train, validation and test


def load(cfg: RunConfig, view: Callable[[Splits], Splits] = lambda splits: splits) -> Data:
    """The data set as `view` shows it."""
    splits = view(checked_splits(cfg.dataset.load()))
    train, validation = cut_validation(splits, cfg.training.validation_fraction, cfg.seed)
    class_counts = torch.bincount(train.labels, minlength=splits.classes)
    parts = {"train": train, "validation": validation, "test": splits.test}
    prints = {name: None if part is None else part.fingerprint() for name, part in parts.items()}
    return Data(splits, train, validation, class_counts, prints)


def require_a_batch(cfg: RunConfig, train: Images) -> None:
    """ConfigError if there are fewer training images than a batch has."""
    if cfg.training.batch_size > len(train):
        raise ConfigError(
            f"training.batch_size is {cfg.training.batch_size}, but the training set has "
            f"{len(train)} images."
        )
