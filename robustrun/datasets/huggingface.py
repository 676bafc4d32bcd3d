"""Data sets of the Hugging Face hub, by name or from their parquet files on the disk
(https://huggingface.co/docs/datasets).
"""

import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch

from robustrun import console
from robustrun.datasets.arrow import (
    AT_ONCE,
    Table,
    decoded,
    first_image,
    image_column,
    label_column,
    numbered,
    read_labels,
)
from robustrun.datasets.augmentation import Border, Policy, augmentation
from robustrun.datasets.checks import require_learnt
from robustrun.datasets.holdout import check_holdout, hold_out
from robustrun.datasets.image_reader import ImageReader
from robustrun.datasets.parquet import TEST, TRAIN, WORDS, read_parquet
from robustrun.datasets.pictures import channels_of, open_image
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.datasets.subset import make_splits
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import ConfigError, DataError, require
from robustrun.storage.downloads import stalls_end
from robustrun.storage.offline import hub_offline, offline
from robustrun.storage.transfer import unreachable
from robustrun.types import DATASETS, Shape, Splits

log = logging.getLogger(__name__)
NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")  # of a data set on the hub
HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
CACHE = os.environ.get("HF_HOME", "~/.cache/huggingface")
SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk writes


@DATASETS.register("huggingface")
@dataclass(frozen=True)
class HuggingFace:
    """A data set of the hub, a folder of parquet files or one of them, or what `save_to_disk`
    wrote; no code of a data set is ever run.

    All images are decoded into memory, in the order of their rows. Without a split test, or where
    its labels are hidden, validation is the test part; without either, a part is cut off.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER

    path: str
    config: str | None
    revision: str | None
    train_split: str | None
    test_split: str | None
    image_column: str | None
    label_column: str | None
    test_fraction: float
    test_seed: int
    image_size: int | None
    channels: int | None
    memory_limit_gb: float
    policy: Policy | None
    crop_padding: int
    crop_border: Border
    flip: bool
    color_jitter: float
    rotation: float
    classes: tuple[str | int, ...] | None
    fraction: float
    fraction_seed: int
    imbalance_ratio: float | None
    imbalance_seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    epsilon: Radii

    def __post_init__(self) -> None:
        check(self)
        check_holdout(self)
        size, channels, limit = self.image_size, self.channels, self.memory_limit_gb
        require(size is None or size >= 1, "image_size", size, "pixels, at least 1, or null")
        require(channels in (1, 3, None), "channels", channels, "1, 3 or null")
        require(limit > 0, "memory_limit_gb", limit, "gigabytes, above 0")

    def load(self) -> Splits:
        chosen = chosen_splits(read_tables(self), self)
        reader = self._reader(next(part for part in (chosen.train, chosen.test) if part))
        names, (train, test) = self._parts(chosen, reader)
        told = chosen.test_from
        if test is None:
            part = hold_out(train.labels, names, self, chosen.place)
            train, test, told = train.subset(part.train), train.subset(part.test), part.told
        splits = make_splits(replace(train, augment=augmentation(self)), test, names, self)
        return replace(splits, test_from=told)

    def _reader(self, table: Table) -> ImageReader:
        column = image_column(table, self.image_column)
        image, _ = open_image(Path(f"{table.place}, row 0"), first_image(table, column))
        height, width = (self.image_size or image.height), (self.image_size or image.width)
        shape: Shape = self.channels or channels_of(image.mode), height, width
        return ImageReader(shape, self.image_size, self.channels == 1, (255, 255, 255))

    def _parts(
        self, chosen: "Chosen", reader: ImageReader
    ) -> tuple[tuple[str, ...], tuple[TensorImages, TensorImages | None]]:
        """(class names, (training images, test images)), decoded; without a table to train on there
        are no training images."""
        tables = [table for table in (chosen.train, chosen.test) if table is not None]
        columns = [label_column(table, self.label_column) for table in tables]
        labels = [read_labels(table, at) for table, at in zip(tables, columns, strict=True)]
        names, counted = numbered(labels)
        if len(tables) > 1:
            require_learnt(counted, names, *(table.place for table in tables))
        self._require_memory(sum(table.rows for table in tables), reader.shape)
        pictures = [image_column(table, self.image_column) for table in tables]
        log.info("%s: images of %r, labels of %r", chosen.place, pictures[0], columns[0])
        images = [
            TensorImages(decoded(table, column, reader), y)
            for table, column, y in zip(tables, pictures, counted, strict=True)
        ]
        if chosen.train is None:
            return names, (images[0].subset(torch.arange(0)), images[0])
        return names, (images[0], images[1] if len(images) > 1 else None)

    def _require_memory(self, rows: int, shape: Shape) -> None:
        needed = rows * math.prod(shape) / 1e9
        if needed > self.memory_limit_gb:
            raise ConfigError(
                f"dataset.memory_limit_gb is {self.memory_limit_gb:g}, but {rows} images of "
                f"{' x '.join(map(str, shape))} need {needed:.1f} GB. Allow more, choose a smaller "
                f"dataset.image_size, or save the images in class folders, which "
                f"dataset=image_folder reads while training."
            )


class Chosen(NamedTuple):
    """The splits that are used."""

    place: str  # that messages name
    train: Table | None  # None: the data set can be measured alone
    test: Table | None  # None: to be cut from the training part
    test_from: str | None


def chosen_splits(tables: Mapping[str, Table], settings: HuggingFace) -> Chosen:
    """The tables to train and to test on; DataError if it is not plain which they are."""
    train, test = settings.train_split, settings.test_split
    for key, name in (("train_split", train), ("test_split", test)):
        if name is not None and name not in tables:
            known = ", ".join(tables)
            raise DataError(f"dataset.{key} is {name!r}, but {settings.path} has {known}.")
    if train is None:
        train = _train_split(tables, settings)
    told = None
    if train is not None and train == test:
        raise DataError(
            f"dataset.test_split: {train!r} is the split to train on: what is measured on it was "
            f"learnt. Name another one of {', '.join(tables)}."
        )
    if test is None:
        test = _test_split(tables, train, settings)
        told = None if test in (TEST, None) else f"split {test!r}"
    if left := [name for name in tables if name not in (train, test)]:
        log.info("%s: not used: split %s", settings.path, ", ".join(left))
    measured = None if test is None else tables[test]
    return Chosen(settings.path, None if train is None else tables[train], measured, told)


def _train_split(tables: Mapping[str, Table], settings: HuggingFace) -> str | None:
    if TRAIN in tables:
        return TRAIN
    others = [name for name in tables if name not in WORDS and name != settings.test_split]
    if len(others) > 1:
        raise DataError(
            f"{settings.path} has the splits {', '.join(tables)}: which one is to train on cannot "
            f"be seen. Name it: dataset.train_split={others[0]}"
        )
    if not others:
        log.warning("%s has no training images, only %s", settings.path, ", ".join(tables))
    return others[0] if others else None


def _test_split(
    tables: Mapping[str, Table], train: str | None, settings: HuggingFace
) -> str | None:
    """The split to test on, beside that to train on: test, unless its labels are hidden, else
    validation, and that is said."""
    others = [name for name in tables if name != train]
    validation = next((name for name in others if WORDS.get(name) == "validation"), None)
    tests = [name for name in others if WORDS.get(name) == TEST]
    name = TEST if TEST in tests else next(iter(tests), None)
    if name is not None and not _is_hidden(tables[name], tables[train or name], settings):
        return name
    if validation is not None:
        why = "there is no test split" if name is None else f"the labels of {name!r} are hidden"
        log.warning("%s: %r is taken as the test part: %s", settings.path, validation, why)
        return validation
    if name is not None:
        raise DataError(
            f"{settings.path}: the labels of split {name!r} are hidden, and there is no validation "
            f"split. Name another one, dataset.test_split=…, or give dataset.path the files to "
            f"train on alone: of these a test part is cut off."
        )
    return None


def _is_hidden(table: Table, labelled: Table, settings: HuggingFace) -> bool:
    """Whether no row says its class, in the column that holds those of `labelled`: -1, or nothing,
    or there is no such column."""
    column = label_column(labelled, settings.label_column)
    if column not in table.columns:
        return True
    values = (value for batch in table.batches(column) for value in batch)
    return all(value in (-1, None) for value in values)


def read_tables(settings: HuggingFace) -> dict[str, Table]:
    """The splits of the data set, from the disk if `path` is there, else from the hub."""
    place = Path(settings.path).expanduser()
    if any((place / name).is_file() for name in SAVED):
        datasets = installed_datasets()
        return _tables(datasets.load_from_disk(str(place)), settings.path)
    if place.exists():
        return read_parquet(place.absolute(), settings.config)
    if not NAME.fullmatch(settings.path) or settings.path.endswith(".parquet"):
        raise DataError(
            f"dataset.path is {settings.path!r}, but {place.absolute()} is not there. It must be a "
            f"folder of parquet files, one of them, or a name on the hub, such as "
            f"uoft-cs/cifar10."
        )
    return from_hub(settings)


def from_hub(settings: HuggingFace) -> dict[str, Table]:
    """The splits of a data set on the hub, or in its cache where the hub is not reached; DataError
    says why there are none."""
    datasets = installed_datasets()
    reason = f"{variable} forbids downloads" if (variable := offline()) else unreachable(HUB)
    if reason is not None:
        log.info("the cache of the Hugging Face hub is read: %s", reason)
    with stalls_end(), hub_offline() if reason else nullcontext():
        try:
            found = datasets.load_dataset(
                settings.path, settings.config, revision=settings.revision
            )
        except Exception as error:  # the hub and its libraries fail in many ways
            raise DataError(_not_there(settings, reason, error)) from error
    return _tables(found, settings.path)


def _not_there(settings: HuggingFace, reason: str | None, error: Exception) -> str:
    text = " ".join((str(error) or type(error).__name__).split())[:300].rstrip(".")
    place = "the Hugging Face hub" if reason is None else f"the cache of the hub ({reason})"
    return (
        f"dataset.path: {settings.path!r} could not be read from {place}: {text}. Where there is a "
        f"network, `hf download --repo-type dataset {settings.path} --local-dir FOLDER` fetches "
        f"its files; then dataset.path=FOLDER. Or run this there, and copy {CACHE}."
    )


def _tables(found: Any, path: str) -> dict[str, Table]:
    """Each split of what `datasets` loaded."""
    parts = found if isinstance(found, dict) else {str(found.split or TRAIN): found}
    return {name: _table(part, f"{path}, {name}") for name, part in parts.items()}


def _table(part: Any, place: str) -> Table:
    stored = part.with_format("arrow")
    return Table(
        place=place,
        columns={field.name: str(field.type) for field in stored.features.arrow_schema},
        features={
            name: kind for name, kind in stored.features.to_dict().items() if isinstance(kind, dict)
        },
        rows=len(stored),
        batches=partial(_batches, stored),
    )


def _batches(stored: Any, column: str) -> Iterator[list[Any]]:
    for batch in stored.select_columns([column]).iter(AT_ONCE):
        yield batch.column(0).to_pylist()


def installed_datasets() -> Any:
    """The library, without its bars where ours would not be drawn either."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        if error.name != "datasets":
            raise
        raise ConfigError(
            "dataset.name is 'huggingface', and `datasets` is not installed: "
            "pip install 'robustrun[hf]'."
        ) from None
    if not hasattr(datasets, "load_dataset"):
        raise ConfigError(
            f"dataset.name is 'huggingface', but `import datasets` finds {datasets.__file__}, "
            f"which is not Hugging Face's library: start from another folder."
        )
    if not console.STDERR.is_terminal:
        datasets.disable_progress_bars()
    return datasets
