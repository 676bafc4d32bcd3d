"""The data of a run: what it uses is loaded before anything is trained."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.decoding import TRAIN, images, stored
from datasets.small_sets import digits, folder
from robustrun.datasets import run_data
from robustrun.datasets.augmentation import as_floats
from robustrun.errors import DataError
from robustrun.types import Images

pytestmark = pytest.mark.usefixtures("cache")


def three(test: Images) -> tuple[Images, np.ndarray]:
    """Some test images, as the ones to measure."""
    places = np.array([2, 5, 9])
    return test.subset(torch.from_numpy(places)), places


def test_a_run_decodes_its_long_tailed_part_and_its_examples_once_each(
    root: Path, reads: Counter[str]
) -> None:
    data = run_data.load(folder(root, imbalance_ratio=0.1), 0.25, 0, three)
    assert data.validation is not None
    assert len(data.train) + len(data.validation) == TRAIN + TRAIN // 10
    for part in (data.train, data.validation, data.examples):
        for _ in range(2):
            list(part.batches(4))
    assert reads.total() == TRAIN + TRAIN // 10 + 3
    assert set(reads.values()) == {1}
    expected = as_floats(stored(images(root, "test"))[[2, 5, 9]])
    assert torch.equal(next(data.examples.batches(3))[0], expected)


def test_where_nothing_is_trained_no_training_image_is_decoded(
    root: Path, reads: Counter[str]
) -> None:
    data = run_data.load(folder(root), 0.25, 0, three, view=lambda splits: splits)
    assert len(data.train) == TRAIN * 2 * 3 // 4
    assert reads.total() == len(data.examples) == 3


@pytest.mark.parametrize("name", ["train/a/08.png", "test/a/04.png"])
def test_a_damaged_image_that_is_needed_is_named_before_anything_is_trained(
    root: Path, name: str
) -> None:
    (root / name).write_bytes((root / name).read_bytes()[:40])
    with pytest.raises(DataError, match=rf"{name} cannot be read as an image"):
        run_data.load(folder(root), 0.25, 0, three)


def test_classes_of_which_the_validation_part_has_all_images_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def all_of(test: Images) -> tuple[Images, np.ndarray]:
        return test, np.arange(len(test))

    data = run_data.load(digits(fraction=0.001), 0.1, 0, all_of)  # one image of each class
    (missing,) = (data.class_counts == 0).nonzero().flatten().tolist()
    assert f"no training images are left of '{missing}': these classes" in caplog.text
    caplog.clear()
    run_data.load(digits(), 0.1, 0, all_of)
    assert "no training images" not in caplog.text
