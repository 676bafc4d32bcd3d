"""The embedded data set: 1,797 handwritten digits, 8 x 8 grey, 10 classes, no network needed.

The test part of the UCI "Optical Recognition of Handwritten Digits" data (Alpaydin and Kaynak,
1998, https://doi.org/10.24432/C50P49, CC BY 4.0), as scikit-learn ships it.
"""

import importlib.resources
import io
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from robustrun.datasets.augmentation import Border, Policy, augmentation
from robustrun.datasets.settings import ADDED_LATER, Radii, check
from robustrun.datasets.subset import make_splits
from robustrun.datasets.tensors import TensorImages
from robustrun.types import DATASETS, Splits

TEST_SIZE = 360  # the last fifth of the file


@DATASETS.register("digits")
@dataclass(frozen=True)
class Digits:
    """Grey levels 0 to 16 as [0, 1]; the first 1,437 train, the last 360 test, in file order.

    Each writer's digits stand together in the file. A random split would put the same writers on
    both sides and flatter accuracy by 5 to 10 points; so a validation split, too, is the tail of
    the training part.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = ADDED_LATER

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
        source = importlib.resources.files("robustrun.datasets") / "digits.npz"
        with np.load(io.BytesIO(source.read_bytes()), allow_pickle=False) as stored:
            levels = torch.from_numpy(stored["levels"])[:, None]
            labels = torch.from_numpy(stored["labels"]).long()
        pixels = levels.float() / 16
        return make_splits(
            TensorImages(pixels[:-TEST_SIZE], labels[:-TEST_SIZE], augmentation(self)),
            TensorImages(pixels[-TEST_SIZE:], labels[-TEST_SIZE:]),
            tuple(str(digit) for digit in range(10)),
            self,
            validation_from="tail",
        )
