"""A data set in the words of a network that was trained on another: classes matched by name."""

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustrun.datasets.settings import HELD_OUT
from robustrun.errors import DataError, listed
from robustrun.types import Images, Shape, Splits

log = logging.getLogger(__name__)
SHOWN = 8  # names that a message lists


@dataclass(frozen=True)
class TrainedOn:
    """What is known of the images that a network learnt."""

    class_names: tuple[str, ...]  # in the order of its logits
    shape: Shape
    test_from: str | None = None  # where its test images came from, unless they are a part so named
    test_fingerprint: str | None = None  # of their content

    @staticmethod
    def of(section: dict[str, Any]) -> "TrainedOn":
        """From what a run says of its data: `class_names`, `input_shape` and `test_from`."""
        channels, height, width = section["input_shape"]
        names, shape = tuple(section["class_names"]), (channels, height, width)
        return TrainedOn(names, shape, section.get("test_from"))


@dataclass(frozen=True, eq=False)
class Relabelled:
    """Images whose label k is `table[k]`."""

    images: Images
    table: Tensor  # int64 of shape K

    @property
    def labels(self) -> Tensor:
        return self.table[self.images.labels]

    @property
    def shape(self) -> Shape:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Tensor) -> "Relabelled":
        return dataclasses.replace(self, images=self.images.subset(indices))

    def plain(self) -> "Relabelled":
        return dataclasses.replace(self, images=self.images.plain())

    def to(self, device: torch.device) -> "Relabelled":
        return dataclasses.replace(self, images=self.images.to(device))

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        device: torch.device | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in self.images.batches(batch_size, order, device, skip):
            yield x, self.table.to(y.device)[y]

    def fingerprint(self) -> str:
        return self.images.fingerprint()


def as_trained(splits: Splits, trained: TrainedOn, source: str) -> Splits:
    """The splits with the classes of the network at `source`, in the order of its logits; fewer
    classes than it knows are measured, and that is said. DataError for a class that it does not
    know, or for images with other channels."""
    _require_classes(splits.class_names, trained.class_names, source)
    if splits.test.shape[0] != trained.shape[0]:
        raise DataError(
            f"The network of {source} takes images with {trained.shape[0]} channels, but this data "
            f"set's have {splits.test.shape[0]}. Images in folders are read as grey or colour with "
            f"dataset.channels=1 or dataset.channels=3."
        )
    _tell(splits.class_names, trained.class_names)
    _tell_other_cut(splits, trained, source)
    if splits.class_names == trained.class_names:
        return splits
    places = {name: place for place, name in enumerate(trained.class_names)}
    table = torch.tensor([places[name] for name in splits.class_names])
    return dataclasses.replace(
        splits,
        train=Relabelled(splits.train, table),
        test=Relabelled(splits.test, table),
        class_names=trained.class_names,
        class_table=table if splits.class_table is None else table[splits.class_table],
    )


def _require_classes(names: tuple[str, ...], trained: tuple[str, ...], source: str) -> None:
    unknown = [name for name in names if name not in trained]
    if unknown:
        raise DataError(
            f"The network of {source} was trained on {_listed(trained)}, but this data set has "
            f"{_listed(names)}: it does not know {_listed(unknown)}. Classes are matched by name; "
            f"measure it on images of its own classes (all or some of them)."
        )
    for where, those in (("this data set", names), (f"the network of {source}", trained)):
        if len(set(those)) < len(those):
            raise DataError(f"Two classes of {where} have the same name: {_listed(those)}.")


def _tell(names: tuple[str, ...], trained: tuple[str, ...]) -> None:
    missing = [name for name in trained if name not in names]
    if missing:
        log.warning(
            "of the network's %d classes, %d are measured; the data set has no %s",
            len(trained),
            len(names),
            _listed(missing),
        )
    elif names != trained:
        log.info("the data set has the network's classes in another order: matched by name")


def _tell_other_cut(splits: Splits, trained: TrainedOn, source: str) -> None:
    """Warn of a test part that is cut otherwise than when the network was trained, or from other
    images."""
    now, then = splits.test_from or "", trained.test_from or ""
    if not (now.startswith(HELD_OUT) and then.startswith(HELD_OUT)):
        return
    if now != then:
        log.warning(
            "the test images are %s; those of %s were %s. If they are of the same data, the "
            "network was trained on some of them",
            now,
            source,
            then,
        )
    elif _are_others(splits, trained):
        log.warning(
            "the test images are %s, and are others than those that were held out for %s. If "
            "images were added to its data, or removed, the network was trained on some of them",
            now,
            source,
        )


def _are_others(splits: Splits, trained: TrainedOn) -> bool:
    """Whether the test images are not those of the training run, as far as that can be seen: not if
    they are read in another size, or as other classes."""
    chosen = bool(splits.left_out) or splits.class_table is not None
    if chosen and splits.class_names != trained.class_names:
        return False
    known = trained.test_fingerprint is not None and splits.test.shape == trained.shape
    return known and splits.test.fingerprint() != trained.test_fingerprint


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return f"{'class' if len(names) == 1 else 'classes'} {listed(map(repr, names), SHOWN)}"
