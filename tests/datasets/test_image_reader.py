"""Files become pixels of the size and number of channels that are set."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.small_sets import folder, make_tree, save, whole
from robustrun.errors import DataError


def test_image_size_scales_the_shorter_side_and_takes_the_middle(tmp_path: Path) -> None:
    make_tree(tmp_path, size=(12, 6))
    levels = np.zeros((6, 12, 3), dtype=np.uint8)
    levels[:, 3:9] = 200  # the middle square
    Image.fromarray(levels).save(tmp_path / "train" / "ant" / "0.png")
    x = whole(folder(tmp_path, image_size=6).load().train)[0]
    assert torch.equal(x, torch.full((3, 6, 6), 200 / 255))


@pytest.mark.parametrize(
    ("mode", "channels", "expected"), [("L", None, 1), ("L", 3, 3), ("RGB", 1, 1), ("RGB", None, 3)]
)
def test_channels_are_as_set_or_as_in_the_first_image(
    tmp_path: Path, mode: str, channels: int | None, expected: int
) -> None:
    train = folder(make_tree(tmp_path, mode=mode), channels=channels).load().train
    assert whole(train).shape == (8, expected, 10, 10)


def test_colour_among_grey_images_is_refused_unless_channels_is_set(tmp_path: Path) -> None:
    make_tree(tmp_path, mode="L")
    save(tmp_path / "train" / "bee" / "1.png", seed=0)
    with pytest.raises(DataError, match=r"bee/1\.png is in colour.*dataset\.channels=3"):
        folder(tmp_path).load().train.to(torch.device("cpu"))
    assert folder(tmp_path, channels=1).load().train.shape == (1, 10, 10)
