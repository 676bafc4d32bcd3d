"""Arrays of any layout and type as images in [0, 1] and labels from 0."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from datasets.small_sets import digits
from robustrun.datasets.arrays import array_splits, labels_of, part_of, pixels_of
from robustrun.errors import DataError

LEVELS = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)  # N x H x W x C
FIRST = torch.from_numpy(LEVELS).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (LEVELS, FIRST),
        (LEVELS.transpose(0, 3, 1, 2), FIRST),
        (LEVELS[..., 0], FIRST[:, :1]),
        (LEVELS[..., :1], FIRST[:, :1]),
        (LEVELS.astype(np.int64), FIRST),
        (LEVELS.astype(">u2"), FIRST),
        (np.float32(LEVELS) / np.float32(255), FIRST / 255),
        (LEVELS / 255, (FIRST.double() / 255).float()),
        ((LEVELS / 255).astype(np.longdouble), (FIRST.double() / 255).float()),
    ],
)
def test_every_layout_and_type_gives_the_same_images(
    array: np.ndarray, expected: torch.Tensor
) -> None:
    pixels = pixels_of(array, "here")
    assert pixels.dtype == expected.dtype
    assert pixels.is_contiguous()
    assert torch.equal(pixels, expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (LEVELS.reshape(6, -1), r"have shape 6 x 60, but must be N x H x W x C"),
        (LEVELS[:, :3], r"6 x 3 x 4 x 3: whether their channels come first or last"),
        (np.zeros((6, 5, 5, 4)), r"must have 1 or 3 channels.*leave the fourth out"),
        (LEVELS.astype(np.int64) * 200, r"pixels are int64 from 0 to \d+, .* 0 to 255"),
        (LEVELS.astype(np.float32), r"image 0 has a pixel of .* Divide by 255"),
        (LEVELS / 127.5 - 1, r"Do not normalise them"),
        (LEVELS > 3, r"of type bool"),
        (LEVELS // 255, r"uint8, which counts as 0 to 255, but the largest is 1"),
        (LEVELS[:0], r"there are no images"),
        (LEVELS[:, :0].astype(np.int64), r"there are no images"),
        (np.array(7), r"have shape of one number, but must be N x H x W x C"),
    ],
)
def test_what_is_no_image_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=rf"^here.*{message}"):
        pixels_of(array, "here")


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y,
        lambda y: y[:, None],
        lambda y: y.astype(np.uint8)[:, None],
        lambda y: np.eye(3)[y],
        lambda y: np.eye(3, dtype=bool)[y],
    ],
)
def test_labels_of_any_form_are_the_same(change: Callable[[np.ndarray], np.ndarray]) -> None:
    assert labels_of(change(np.array([2, 0, 1, 1])), 4, "here").tolist() == [2, 0, 1, 1]


def test_labels_may_be_names() -> None:
    names = ["bee", "ant"]
    assert labels_of(np.array(names), 2, "here").tolist() == names
    assert labels_of(np.array(names, dtype="S"), 2, "here").tolist() == names


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0, 1, 2]), r"have shape 3, but there are 4 images"),
        (np.array([0.0, 1.0, 1.0, 0.0]), r"of type float64"),
        (np.array([0, 1, -1, 0]), r"a label is -1"),
        (np.array(1), r"have shape of one number, but there are 4 images"),
        (np.array([[1, 1], [0, 1], [1, 0], [0, 1]]), r"not one-hot.*several labels"),
        (np.array([[0.3, 0.7]] * 4), r"not one-hot"),
    ],
)
def test_what_is_no_label_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=rf"^here.*{message}"):
        labels_of(array, 4, "here")


def test_labels_of_two_types_are_the_same_classes_and_of_two_kinds_none() -> None:
    settings = digits()
    train = part_of(LEVELS[:4], np.array([0, 10, 2, 10], dtype=np.uint64), "train")
    test = part_of(LEVELS[:2], np.array([10, 2]), "test")
    splits = array_splits(train, test, settings)
    assert splits.class_names == ("0", "2", "10")
    assert splits.test.labels.tolist() == [2, 1]
    with pytest.raises(DataError, match=r"names in one part and whole numbers in the other: train"):
        array_splits(train, part_of(LEVELS[:2], np.array(["10", "2"]), "test"), settings)
