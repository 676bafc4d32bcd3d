"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

Read by torchvision, which checks the MD5 sum of every file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from robustrun.datasets.augmentation import Augment, Border, Policy, augmentation
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.datasets.subset import make_splits
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError
from robustrun.storage.downloads import stalls_end, unreachable
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
    try:
        return source(root, train=True), source(root, train=False)
    except (RuntimeError, OSError):  # not there, or a wrong MD5 sum
        fetch(source, root, download)
    return source(root, train=True), source(root, train=False)


def fetch(source: Any, root: Path, download: bool) -> None:
    """Unpack the archive below `root`, downloading it first if it is not there."""
    from torchvision.datasets.utils import check_integrity

    if not check_integrity(root / source.filename, source.tgz_md5):
        if not download:
            raise missing(source, root, "dataset.download is false")
        if reason := unreachable(source.url):
            raise missing(source, root, f"the server cannot be reached ({reason})")
    try:
        with stalls_end():
            source(root, download=True)
    except (RuntimeError, OSError) as error:
        raise missing(source, root, f"the download or unpacking failed ({error})") from error


def missing(source: Any, root: Path, reason: str) -> DataError:
    """What is wrong with the files below `root`, why it was not corrected, and how to correct
    it."""
    return DataError(
        f"{source.__name__} is not usable: {damage(source, root / source.base_folder)}. It was not "
        f"fetched: {reason}. Either let a machine with network fetch it (dataset.download=true), "
        f"or put {source.url} into {root} yourself (MD5 sum {source.tgz_md5}): it is unpacked from "
        f"there. If you have it elsewhere, set dataset.root to the folder that holds "
        f"{source.base_folder}/."
    )


def damage(source: Any, folder: Path) -> str:
    """The first thing that is wrong in the unpacked `folder`."""
    from torchvision.datasets.utils import check_integrity

    if not folder.is_dir():
        return f"{folder} is not there"
    files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    for name, md5 in files:
        if not (folder / name).is_file():
            return f"{folder / name} is missing"
        if not check_integrity(folder / name, md5):
            return f"{folder / name} is damaged, its MD5 sum is not {md5}"
    return f"{folder} cannot be read"
