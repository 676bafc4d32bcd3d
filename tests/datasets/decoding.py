"""Parts of a small folder of images, and their pixels as PIL has them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datasets.small_sets import folder
from robustrun.datasets.decoded import DecodedImages
from robustrun.datasets.files import FileImages

TRAIN, TEST = 20, 8  # images of each of two classes, as the fixture `root` has them


def images(root: Path, split: str = "train") -> FileImages:
    part = getattr(folder(root).load(), split)
    assert isinstance(part, DecodedImages)
    return part.files


def stored(files: FileImages) -> Tensor:
    """The pixels as PIL has them."""
    arrays = [np.array(Image.open(files.path(i))) for i in range(len(files))]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
