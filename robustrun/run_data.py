"""The data of a run: loaded, seen as the measured network sees it, cut, and fingerprinted."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustrun import config
from robustrun.config import RunConfig
from robustrun.datasets.border import checked_splits
from robustrun.datasets.contents import content_digests
from robustrun.datasets.validation import cut_validation
from robustrun.errors import ConfigError
from robustrun.types import Images, Splits

HELD = (".npy", ".safetensors")  # files of a folder that a configuration names: corruptions, a run


@dataclass(frozen=True)
class Data:
    """What is trained on, chosen by, and measured."""

    splits: Splits
    train: Images
    validation: Images | None
    class_counts: Tensor  # training images of each class, int64 of shape K
    fingerprints: dict[str, str | None]  # of the content of train, validation and test


def load(cfg: RunConfig, view: Callable[[Splits], Splits] | None = None) -> Data:
    """The data set to train on, or to be measured as `view` shows it: then training images may be
    missing."""
    splits = checked_splits(cfg.dataset.load(), to_train=view is None)
    splits = splits if view is None else view(splits)
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


def inputs(cfg: RunConfig, data: Data) -> dict[str, str | None]:
    """What decides a run beside its configuration, by name: the data's classes, the content of its
    images, and of every file that the configuration names (weights, corruptions …)."""
    images = {f"{name} images": content for name, content in data.fingerprints.items()}
    classes = ", ".join(map(repr, data.splits.class_names))
    return {"class names": classes} | images | _named_files(config.dump(cfg))


def _named_files(plain: dict[str, Any]) -> dict[str, str | None]:
    """SHA-256 of the files that texts of the configuration name, in themselves or as the folder
    that holds them; the data set's own are among its images."""
    found: dict[str, str | None] = {}
    for text in _texts({key: value for key, value in plain.items() if key != "dataset"}):
        for file in _files_at(Path(text).expanduser()):
            (digest,) = content_digests(file.parent, [os.fsencode(file.name)])
            found[str(file)] = digest.hex()
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif isinstance(value, str) and value:
        yield value


def _files_at(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            return sorted(file for ending in HELD for file in path.glob(f"*{ending}"))
        return [path] if path.is_file() else []
    except (OSError, ValueError):  # no path at all
        return []
