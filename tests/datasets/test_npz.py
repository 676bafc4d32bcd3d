""".npz files as Keras, MedMNIST, EDM and NumPy write them."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.small_sets import npz, whole
from robustrun.command_line.main import run_command_line
from robustrun.errors import DataError
from robustrun.types import Splits

DRAWN = np.random.default_rng(0)
TRAIN = DRAWN.integers(0, 256, (12, 6, 6, 3), dtype=np.uint8), np.arange(12) % 3
TEST = DRAWN.integers(0, 256, (6, 6, 6, 3), dtype=np.uint8), np.arange(6) % 3


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path / "mine.npz", **arrays)
    return path / "mine.npz"


def loaded(path: Path, arrays: dict[str, np.ndarray], **changed: Any) -> Splits:
    return npz(saved(path, **arrays), **changed).load()


def is_first(images: Any, part: tuple[np.ndarray, np.ndarray]) -> bool:
    pixels = torch.from_numpy(part[0]).permute(0, 3, 1, 2) / 255
    return torch.equal(whole(images), pixels) and images.labels.tolist() == part[1].tolist()


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "y_train", "X_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("images_train", "labels_train", "images_val", "labels_val"),
    ],
)
def test_both_parts_are_found_by_the_names_that_people_give(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    splits = loaded(tmp_path, dict(zip(names, (*TRAIN, *TEST), strict=True)))
    assert is_first(splits.train, TRAIN)
    assert is_first(splits.test, TEST)
    assert splits.class_names == ("0", "1", "2")
    assert splits.test_from == ("val" if "images_val" in names else None)


@pytest.mark.parametrize("names", [("images", "labels"), ("image", "label"), ("arr_0", "arr_1")])
def test_of_images_in_one_piece_a_test_part_is_held_out(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    splits = loaded(tmp_path, dict(zip(names, TRAIN, strict=True)), test_fraction=0.25)
    assert splits.train.labels.bincount().tolist() == [3, 3, 3]
    assert splits.test.labels.bincount().tolist() == [1, 1, 1]
    assert str(splits.test_from).startswith("held out: 0.25 of each class")
    both = torch.cat([whole(splits.train), whole(splits.test)])
    assert len(both.flatten(1).unique(dim=0)) == 12


def test_a_test_part_alone_can_be_measured(tmp_path: Path) -> None:
    splits = loaded(tmp_path, {"x_test": TEST[0], "y_test": TEST[1]})
    assert len(splits.train) == 0
    assert is_first(splits.test, TEST)


def test_classes_have_names_if_the_file_has_them_and_else_their_numbers(tmp_path: Path) -> None:
    images = dict(zip(("x_train", "x_test"), (TRAIN[0], TEST[0]), strict=True))
    numbers = {"y_train": TRAIN[1] * 2 + 1, "y_test": TEST[1] * 2 + 1}
    splits = loaded(tmp_path, images | numbers)
    assert splits.class_names == ("1", "3", "5")
    assert splits.train.labels.tolist() == TRAIN[1].tolist()
    named = np.array(["none", "ant", "none too", "bee", "never", "cat"])
    assert loaded(tmp_path, images | numbers | {"class_names": named}).class_names == (
        *("ant", "bee", "cat"),
    )
    in_bytes = {"class_names": named.astype("S")}
    assert loaded(tmp_path, images | numbers | in_bytes).class_names == ("ant", "bee", "cat")
    with pytest.raises(DataError, match=r"class_names of .* has shape of one number, but must be"):
        loaded(tmp_path, images | numbers | {"class_names": np.array("ant")})
    words = {name: named[labels] for name, labels in numbers.items()}
    assert loaded(tmp_path, images | words).class_names == ("ant", "bee", "cat")
    with pytest.raises(DataError, match="a label is 5, but there are 2 class names"):
        loaded(tmp_path, images | numbers | {"class_names": named[:2]})


def test_val_is_left_alone_beside_test(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    arrays = {
        **{"train_images": TRAIN[0], "train_labels": TRAIN[1]},
        **{"val_images": TRAIN[0][:3], "val_labels": TRAIN[1][:3]},
        **{"test_images": TEST[0], "test_labels": TEST[1], "ids": np.arange(3)},
    }
    splits = loaded(tmp_path, arrays)
    assert is_first(splits.test, TEST)
    assert "val_images of" in caplog.text
    assert "the array 'ids' of" in caplog.text


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": TRAIN[0]}, "has 'x_train', but not the labels or images that go with it"),
        ({"a": TRAIN[0], "b": TRAIN[1]}, r"has 'a', 'b'\. Expected are x_train"),
        ({"x": TRAIN[0], "images": TRAIN[0], "y": TRAIN[1]}, "which mean the same"),
        (
            {"x": TRAIN[0], "y": TRAIN[1], "x_test": TEST[0], "y_test": TEST[1]},
            r"Expected are x_train",
        ),
        (
            {"x_train": TRAIN[0], "y_train": TRAIN[1], "x_test": TEST[0], "y_test": TEST[1] + 1},
            r"x_test and y_test of .* has images of '3', of which .*x_train .* has none",
        ),
        ({"x": TRAIN[0], "y": TRAIN[1][:5]}, "x and y of .*have shape 5, but there are 12 images"),
    ],
)
def test_a_file_that_is_no_data_set_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(DataError, match=rf"^dataset\.file: .*{message}"):
        loaded(tmp_path, arrays)


def test_a_run_trains_on_a_file_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, images=TRAIN[0], labels=TRAIN[1], class_names=np.array(["a", "b", "c"]))
    words = ["method=standard", "model=simple_cnn", "dataset=npz", "dataset.file=mine.npz"]
    more = ["training.epochs=1", "training.batch_size=4", "evaluation=none", "keep.figures=false"]
    assert run_command_line([*words, *more, "device.threads=1"]) == 0
    (results,) = (tmp_path / "outputs").glob("*/*/results.json")
    told = json.loads(results.read_text())["dataset"]
    assert (told["name"], told["class_names"], told["test_size"]) == ("npz", ["a", "b", "c"], 3)
    assert told["test_from"].startswith("held out: 0.2 of each class")
