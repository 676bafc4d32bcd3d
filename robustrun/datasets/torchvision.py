"""Any data set of torchvision with one label an image, by the name of its class, in memory.

https://docs.pytorch.org/vision/stable/datasets.html#image-classification
"""

import inspect
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from robustrun.datasets.arrays import Part, array_splits, part_of
from robustrun.datasets.augmentation import Border, Policy
from robustrun.datasets.decoded_items import arrays_of
from robustrun.datasets.holdout import check_holdout
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.errors import ConfigError, DataError, did_you_mean, require
from robustrun.storage.downloads import alone, fetch, missing, require_right, stalls_end
from robustrun.storage.offline import offline
from robustrun.storage.transfer import RemoteFile
from robustrun.types import DATASETS, Splits

log = logging.getLogger(__name__)
SCIPY = ("Caltech101", "Flowers102", "StanfordCars", "SVHN")
NEEDS = dict.fromkeys(SCIPY, ("scipy", "svhn"))  # what a class imports, and the extra that has it
DAMAGED = (RuntimeError, OSError, EOFError, AssertionError)  # of torchvision, for its files


@DATASETS.register("torchvision")
@dataclass(frozen=True)
class TorchvisionSet:
    """`source` is the class; `part` the keyword that asks it for a part, by `train` and by `test`.

    Images of one size are taken as they are; else `image_size` scales the shorter side and crops
    the centre. `transpose` exchanges their rows and columns. Without `part` (null), a test part is
    held out of the only one.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER | {"transpose": False}

    source: str
    part: str | None
    train: bool | str
    test: bool | str
    arguments: dict[str, Any]
    class_names: tuple[str, ...] | None
    root: str
    download: bool
    image_size: int | None
    transpose: bool
    test_fraction: float
    test_seed: int
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
        size = self.image_size
        require(size is None or size >= 1, "image_size", size, "pixels, at least 1, or null")

    @property
    def source_name(self) -> str:
        return self.source

    def load(self) -> Splits:
        source = class_of(self.source)
        root = Path(self.root).expanduser().absolute()
        values = (self.train, self.test) if self.part else ()
        asked = [self.arguments | {str(self.part): value} for value in values] or [self.arguments]
        parts = official(source, root, asked, self.download)
        self._tell_lying()
        names = ["training part", "test part"]
        whole = [self._read(part, name) for part, name in zip(parts, names, strict=False)]
        class_names = self.class_names or getattr(parts[0], "classes", None)
        return array_splits(whole[0], whole[1] if self.part else self, self, class_names)

    def _read(self, part: Any, name: str) -> Part:
        images, labels = arrays_of(part, self.image_size)
        made = part_of(images, labels, f"torchvision's {self.source}, {name}")
        return made._replace(pixels=made.pixels.mT.contiguous()) if self.transpose else made

    def _tell_lying(self) -> None:
        if self.source == "EMNIST" and not self.transpose:
            log.warning(
                "EMNIST's files have rows and columns exchanged, and its letters are read so; in a "
                "new run, dataset.transpose=true turns them upright"
            )


def class_of(name: str) -> Any:
    """torchvision's class; ConfigError for one that there is not."""
    # torchvision takes seconds to import, and a run on another data set does without it.
    from torchvision import datasets

    if name not in datasets.__all__:
        raise ConfigError(
            f"dataset.source is {name!r}, which torchvision does not have."
            f"{did_you_mean(name, datasets.__all__)}"
        )
    package, extra = NEEDS.get(name, ("torchvision", ""))
    if find_spec(package) is None:
        raise ConfigError(
            f"dataset.source is {name!r}, whose files are read by {package}, which is not "
            f"installed: pip install 'robustrun[{extra}]'."
        )
    return getattr(datasets, name)


def official(source: Any, root: Path, asked: list[dict[str, Any]], download: bool) -> list[Any]:
    """torchvision's parts, unpacked or downloaded first if need be."""
    if parts := intact(source, root, asked):
        return parts
    try:
        with alone(root / source.__name__):
            # Another process may have put it there meanwhile.
            parts = intact(source, root, asked) or provide(source, root, asked, download)
    except OSError as error:
        raise DataError(f"dataset.root: {root} cannot be written to ({error}).") from error
    return parts


def intact(source: Any, root: Path, asked: list[dict[str, Any]]) -> list[Any]:
    """The parts as they lie below `root`; none if they are not there, or an MD5 sum is wrong."""
    for file, place in archives(source, root):
        if place.exists() and is_read_itself(source):
            require_right(file, place, "dataset.root")
    with suppress(*DAMAGED):
        return made(source, root, asked, download=False)
    return []


def made(source: Any, root: Path, asked: list[dict[str, Any]], download: bool) -> list[Any]:
    """The parts; ConfigError if the class does not take what it is asked for."""
    parameters = inspect.signature(source).parameters.values()
    fetches = any(p.name == "download" or p.kind is p.VAR_KEYWORD for p in parameters)
    more = {"download": download} if fetches else {}
    try:
        return [source(root=root, **more, **keywords) for keywords in asked]
    except (TypeError, ValueError) as error:
        words = ", ".join(
            f"{name}={value!r}" for keywords in asked for name, value in keywords.items()
        )
        raise ConfigError(
            f"dataset.source {source.__name__!r} cannot be asked for {words or 'images'} "
            f"({error}). dataset.part, train, test and arguments say how it is asked for its parts."
        ) from error


def provide(source: Any, root: Path, asked: list[dict[str, Any]], download: bool) -> list[Any]:
    """Fetch what is missing, unpack it, and read it."""
    key = f"dataset.root: {root} has no usable {source.__name__}"
    instead = "set dataset.root to the folder that has it already"
    if not download:
        instead = f"{instead}, or let it be fetched: dataset.download=true"
    files = archives(source, root)
    if len(lacks := [place.name for _, place in files if not place.exists()]) > 1:
        key = f"{key} (missing are {', '.join(lacks)})"
    for file, place in files:
        if not download and not place.exists():
            raise missing(file, place, key, instead, "dataset.download is false")
        fetch(file, place, key, instead)
        require_right(file, place, key)
    if not files and (forbids := offline() or (None if download else "dataset.download=false")):
        raise DataError(f"{key}, and {forbids} forbids to fetch it. You can {instead}.")
    try:
        with stalls_end():
            return made(source, root, asked, download=True)  # finds the archives, and unpacks them
    except DAMAGED as error:
        raise DataError(
            f"{key}: {' '.join(str(error).split()).rstrip('.') or type(error).__name__}. Remove "
            f"what lies there, and it is unpacked again, or {instead}."
        ) from error


def archives(source: Any, root: Path) -> list[tuple[RemoteFile, Path]]:
    """What is fetched for a class and where it is put, as far as its class says so."""
    if hasattr(source, "tgz_md5"):  # CIFAR10, STL10
        return [(RemoteFile(source.url, f"md5:{source.tgz_md5}"), root / source.filename)]
    if hasattr(source, "split_list"):  # SVHN, USPS
        files = [source.split_list[name] for name in ("train", "test")]
        return [(RemoteFile(url, f"md5:{md5}"), root / name) for url, name, md5 in files]
    raw = root / source.__name__ / "raw"
    if hasattr(source, "url") and hasattr(source, "md5"):  # EMNIST
        place = raw / os.path.basename(source.url)
        return [(RemoteFile(source.url, f"md5:{source.md5}"), place)] if _is_mnist(source) else []
    if _is_mnist(source) and isinstance(source.resources, list):
        mirror = source.mirrors[0]
        return [
            (RemoteFile(mirror + name, f"md5:{md5}"), raw / name) for name, md5 in source.resources
        ]
    return []


def _is_mnist(source: Any) -> bool:
    return hasattr(source, "resources") and hasattr(source, "mirrors")


def is_read_itself(source: Any) -> bool:
    """Whether the file that is fetched is the one that is read, so that its checksum matters."""
    return hasattr(source, "split_list")
