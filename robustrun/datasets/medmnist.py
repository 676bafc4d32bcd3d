"""MedMNIST's 2D data sets (Yang et al. 2023, https://doi.org/10.1038/s41597-022-01721-8)."""

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import yaml

from robustrun.datasets.arrays import Part, array_splits, part_of
from robustrun.datasets.augmentation import Border, Policy
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.datasets.stored_arrays import StoredArrays
from robustrun.errors import ConfigError, DataError, did_you_mean, require
from robustrun.storage.downloads import fetch, missing, require_right
from robustrun.storage.transfer import RemoteFile
from robustrun.types import DATASETS, Splits

log = logging.getLogger(__name__)
TABLE = Path(__file__).with_name("medmnist.yaml")
SMALLEST = 28  # pixels; the file's name has the others' size
URL = "https://zenodo.org/records/10519652/files/{}?download=1"


@cache
def table() -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = yaml.safe_load(TABLE.read_bytes())
    return entries


@DATASETS.register("medmnist")
@dataclass(frozen=True)
class MedMNIST:
    """`root/FLAG.npz`, or `root/FLAG_SIZE.npz` of more than 28 pixels, as the package medmnist and
    Zenodo have them; kept in memory. The official validation part is not used.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER

    flag: str
    size: int
    root: str
    download: bool
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
        flag, usable = self.flag, [name for name, entry in table().items() if entry["labels"]]
        if flag not in table():
            known = did_you_mean(flag, usable)
            raise ConfigError(f"flag is {flag!r}, which MedMNIST does not have.{known}")
        if flag not in usable:
            raise ConfigError(
                f"flag is {flag!r}, whose images have several labels each: a network with one "
                f"answer cannot be right on them. Those with one label: {', '.join(usable)}."
            )
        sizes = list(table()[self.flag]["md5"])
        require(
            self.size in sizes, "size", self.size, f"one of {', '.join(map(str, sizes))} pixels"
        )

    @property
    def source_name(self) -> str:
        return self.flag

    def load(self) -> Splits:
        stored = StoredArrays(self._provided(), "dataset.root")
        log.info(
            "%s: the validation part is not used, one is cut from the training part", self.flag
        )
        train, test = (self._part(stored, name) for name in ("train", "test"))
        return array_splits(train, test, self, table()[self.flag]["labels"])

    def _provided(self) -> Path:
        """The file, fetched first if need be, and checked."""
        name = self.flag if self.size == SMALLEST else f"{self.flag}_{self.size}"
        file = RemoteFile(URL.format(f"{name}.npz"), f"md5:{table()[self.flag]['md5'][self.size]}")
        place = Path(self.root).expanduser().absolute() / f"{name}.npz"
        key, instead = (
            "dataset.root",
            f"set dataset.root to the folder that has {place.name} already",
        )
        if not self.download and not place.exists():
            instead = f"{instead}, or let it be fetched: dataset.download=true"
            raise missing(file, place, key, instead, "dataset.download is false")
        fetch(file, place, key, instead)
        require_right(file, place, key)
        return place

    def _part(self, stored: StoredArrays, name: str) -> Part:
        names = f"{name}_images", f"{name}_labels"
        if lacks := [array for array in names if array not in stored.names]:
            raise DataError(f"dataset.root: {stored.path} has no array {lacks[0]!r}.")
        images, labels = (stored[array] for array in names)
        return part_of(images, labels, f"{self.flag}, {name} part")
