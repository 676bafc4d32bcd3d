"""Imagenette and Imagewoof: ten classes of ImageNet each, easy ones, and breeds of dogs
(https://github.com/fastai/imagenette).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from robustrun.datasets.augmentation import Border, Policy, augmentation
from robustrun.datasets.class_names import readable
from robustrun.datasets.files import FileImages
from robustrun.datasets.image_reader import ImageReader
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.datasets.subset import make_splits
from robustrun.datasets.tree import find_tree
from robustrun.errors import require
from robustrun.storage.archives import unpacked
from robustrun.storage.transfer import RemoteFile
from robustrun.types import DATASETS, Splits

Size = Literal["full", "320px", "160px"]
FOLDERS = {
    ("imagenette", "full"): ("imagenette2", "fe2fc210e6bb7c5664d602c3cd71e612"),
    ("imagenette", "320px"): ("imagenette2-320", "3df6f0d01a2c9592104656642f5e78a3"),
    ("imagenette", "160px"): ("imagenette2-160", "e793b78cc4c9e9a4ccc0c1155377a412"),
    ("imagewoof", "full"): ("imagewoof2", "9aafe18bcdb1632c4249a76c458465ba"),
    ("imagewoof", "320px"): ("imagewoof2-320", "0f46d997ec2264e97609196c95897a44"),
    ("imagewoof", "160px"): ("imagewoof2-160", "3d200a7be99704a0d7509be2a9fbfe15"),
}
WORDS = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}


def archive(folder: str, md5: str) -> RemoteFile:
    return RemoteFile(f"https://s3.amazonaws.com/fast-ai-imageclas/{folder}.tgz", f"md5:{md5}")


@DATASETS.register("imagenette", "imagewoof")
@dataclass(frozen=True)
class Imagenette:
    """train/WNID/ and val/WNID/; the validation part is the test split, since there is no other.

    Read while training, as ImageNet is: random resized crops to train on, and for all else the
    centre of the image with its shorter side scaled to `resize` pixels.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER

    name: Literal["imagenette", "imagewoof"]
    root: str
    download: bool
    size: Size
    image_size: int
    resize: int
    workers: int | None
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
        size, resize, workers = self.image_size, self.resize, self.workers
        require(size >= 1, "image_size", size, "pixels, at least 1")
        require(resize >= size, "resize", resize, f"at least image_size, which is {size}")
        require(workers is None or workers >= 0, "workers", workers, "at least 0, or null")

    def load(self) -> Splits:
        top = Path(self.root).expanduser().absolute()
        if not all((top / part).is_dir() for part in ("train", "val")):  # root is not unpacked
            folder, md5 = FOLDERS[self.name, self.size]
            top = unpacked(archive(folder, md5), top / folder, "dataset.root", self.download)
        wnids, train_files, test_files = find_tree(str(top), "train", "val")[:3]
        whole = ImageReader((3, self.image_size, self.image_size), self.resize, False, None)
        augment = augmentation(self)
        train = FileImages(*train_files, replace(whole, random_crop=True), self.workers, augment)
        test = FileImages(*test_files, whole, self.workers)
        names = readable(wnids, WORDS)
        splits = make_splits(train, test, names, self)
        return replace(splits, class_folders=dict(zip(names, wnids, strict=True)))
