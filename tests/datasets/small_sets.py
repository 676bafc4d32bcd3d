"""Small data sets of known images, in memory and on disk."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from robustrun.datasets.augmentation import Augment
from robustrun.datasets.digits import Digits
from robustrun.datasets.folder import ImageFolder, ImageNet
from robustrun.datasets.npz import NPZ
from robustrun.datasets.settings import Radii
from robustrun.datasets.tensors import TensorImages
from robustrun.datasets.torchvision import TorchvisionSet
from robustrun.types import Images, Splits

COMMON: dict[str, Any] = {
    "policy": None,
    "crop_padding": 0,
    "crop_border": "zeros",
    "flip": False,
    "color_jitter": 0.0,
    "rotation": 0.0,
    "classes": None,
    "fraction": 1.0,
    "fraction_seed": 0,
    "imbalance_ratio": None,
    "imbalance_seed": 0,
    "mean": (0.5,),
    "std": (0.25,),
    "epsilon": Radii(linf=0.1, l2=0.5, l1=2.0),
}


# With Python 3.12 and later, a fork of a process that has threads (torch's own) is warned of.
forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def digits(**changed: Any) -> Digits:
    return Digits(**COMMON | changed)


def numbered(count: int, augment: Augment | None = None) -> TensorImages:
    """Images 1 x 2 x 2 of which each pixel holds the image's own number."""
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 1, 2, 2)
    return TensorImages(pixels.contiguous(), torch.arange(count) % 3, augment)


def numbers(images: Images) -> list[int]:
    return [round(float(x[0, 0, 0]) * 255) for batch, _ in images.batches(4) for x in batch]


def whole(images: Images, batch_size: int = 7, order: Tensor | None = None) -> Tensor:
    return torch.cat([x for x, _ in images.batches(batch_size, order)])


def splits_of(train: Images, **changed: Any) -> Splits:
    return Splits(train, numbered(2), ("a", "b", "c"), **changed)


def save(path: Path, seed: int, size: tuple[int, int] = (10, 10), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = {"L": 1, "RGB": 3}[mode]
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    Image.fromarray(levels.squeeze(-1) if bands == 1 else levels).save(path)


def make_tree(root: Path, test: str = "test", **how: Any) -> Path:
    """Two classes, of 5 and 3 training images and 2 test images each."""
    for split, counts in (("train", (5, 3)), (test, (2, 2))):
        for name, count in zip(("bee", "ant"), counts, strict=True):
            for number in range(count):
                seed = hash_of(f"{split}{name}{number}")
                save(root / split / name / f"{number}.png", seed, **how)
    return root


def hash_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def folder(root: Path, **changed: Any) -> ImageFolder:
    settings: dict[str, Any] = {
        "root": str(root),
        "labels": None,
        "test_fraction": 0.2,
        "test_seed": 0,
        "image_size": None,
        "channels": None,
        "background": (1.0,),
        "memory_limit_gb": 1.0,
        "workers": 0,
    }
    return ImageFolder(**settings | COMMON | changed)


def npz(file: Path, **changed: Any) -> NPZ:
    settings: dict[str, Any] = {"file": str(file), "test_fraction": 0.2, "test_seed": 0}
    return NPZ(**settings | COMMON | changed)


def of_torchvision(source: str, root: Path, **changed: Any) -> TorchvisionSet:
    settings: dict[str, Any] = {
        **{"source": source, "part": "train", "train": True, "test": False, "arguments": {}},
        **{"class_names": None, "root": str(root), "download": False, "image_size": None},
        **{"transpose": False, "test_fraction": 0.2, "test_seed": 0},
    }
    return TorchvisionSet(**settings | COMMON | changed)


def imagenet(root: Path, **changed: Any) -> ImageNet:
    settings: dict[str, Any] = {"root": str(root), "image_size": 8, "resize": 10, "workers": 0}
    settings["background"] = None
    return ImageNet(**settings | COMMON | changed)


def broken(root: Path, fault: str) -> None:
    """A good tree with one fault."""
    make_tree(root)
    bee = root / "train" / "bee"
    if fault == "corrupt":
        (bee / "1.png").write_bytes(b"not an image")
    elif fault == "truncated":
        (bee / "1.png").write_bytes((bee / "1.png").read_bytes()[:60])
    elif fault == "size":
        save(bee / "1.png", seed=0, size=(9, 10))
    elif fault == "deep":
        Image.fromarray(np.zeros((10, 10), dtype=np.uint16)).save(bee / "1.png")
    elif fault == "empty class":
        for file in bee.iterdir():
            file.rename(file.with_suffix(".txt"))
    elif fault == "missing split":
        (root / "test").rename(root / "others")
    elif fault == "extra in test":
        save(root / "test" / "cat" / "0.png", seed=0)
    elif fault == "extra in train":
        save(root / "train" / "cat" / "0.png", seed=0)
    elif fault == "one class":
        (root / "train" / "ant").rename(root / "ant")
