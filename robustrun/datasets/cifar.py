"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

Read by torchvision, which checks the MD5 sum of every file.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from robustrun.datasets.augmentation import Augment, Border, Policy, augmentation
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.datasets.subset import make_splits
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError
from robustrun.storage.downloads import alone, fetch, missing, require_right
from robustrun.storage.transfer import RemoteFile
from robustrun.types import DATASETS, Splits


@DATASETS.register("cifar10", "cifar100")
@dataclass(frozen=True)
class CIFAR:
    """50,000 training and 10,000 test images, 32 x 32 RGB, kept in memory as uint8."""

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER

    name: Literal["cifar10", "cifar100"]
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

    def load(self) -> Splits:
        # torchvision takes seconds to import, and a run on another data set does without it.
        from torchvision.datasets import CIFAR10, CIFAR100

        source = {"cifar10": CIFAR10, "cifar100": CIFAR100}[self.name]
        root = Path(self.root).expanduser().absolute()
        train, test = official(source, root, self.download)
        return make_splits(
            in_memory(train, augmentation(self)),
            in_memory(test, None),
            tuple(train.classes),
            self,
        )


def in_memory(part: Any, augment: Augment | None) -> TensorImages:
    pixels = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
    return TensorImages(pixels, torch.tensor(part.targets), augment)


def official(source: Any, root: Path, download: bool) -> tuple[Any, Any]:
    """torchvision's (training, test) part, unpacked or downloaded first if need be."""
    if parts := intact(source, root):
        return parts
    try:
        with alone(root / source.base_folder):
            if not intact(source, root):  # another process may have unpacked it meanwhile
                unpack(source, root, download)
    except OSError as error:
        raise DataError(f"dataset.root: {root} cannot be written to ({error}).") from error
    return source(root, train=True), source(root, train=False)


def intact(source: Any, root: Path) -> tuple[Any, Any] | None:
    """Both parts as they lie below `root`; None if they are not there, or an MD5 sum is wrong."""
    with suppress(RuntimeError, OSError):
        return source(root, train=True), source(root, train=False)
    return None


def unpack(source: Any, root: Path, download: bool) -> None:
    """Unpack the archive below `root`, downloading it first if it is not there."""
    archive = RemoteFile(source.url, f"md5:{source.tgz_md5}")
    place, key = root / source.filename, f"dataset.root: {damage(source, root)}"
    instead = f"set dataset.root to the folder that holds {source.base_folder}/ already"
    if not download and not place.exists():
        instead = f"{instead}, or let it be fetched: dataset.download=true"
        raise missing(archive, place, key, instead, "dataset.download is false")
    fetch(archive, place, key, instead)
    require_right(archive, place, key)
    try:
        source(root, download=True)  # finds the archive, and unpacks it
    except (RuntimeError, OSError) as error:
        raise DataError(f"{key}, and {place} could not be unpacked ({error}).") from error


def damage(source: Any, root: Path) -> str:
    """The first thing that is wrong in the unpacked folder below `root`."""
    from torchvision.datasets.utils import check_integrity

    folder = root / source.base_folder
    if not folder.is_dir():
        return f"{folder} is not there"
    files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    for name, md5 in files:
        if not (folder / name).is_file():
            return f"{folder / name} is missing"
        if not check_integrity(folder / name, md5):
            return f"{folder / name} is damaged, its MD5 sum is not {md5}"
    return f"{folder} cannot be read"
