"""Tables of images and labels: which columns they are, and what is in them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.small_tables import NAMES, picture, pixels
from robustrun.datasets.arrow import (
    Labels,
    Table,
    decoded,
    first_image,
    image_column,
    label_column,
    numbered,
    read_labels,
)
from robustrun.datasets.image_reader import ImageReader
from robustrun.errors import DataError

CLASSES = {"_type": "ClassLabel", "names": NAMES}


def table(columns: dict[str, str], features: Any = None, values: Any = ()) -> Table:
    def batches(column: str) -> Iterator[list[Any]]:
        for at in range(0, len(values), 2):
            yield list(values[at : at + 2])

    return Table("T", columns, features or {}, len(values), batches)


@pytest.mark.parametrize(
    ("columns", "features", "found"),
    [
        ({"a": "struct", "y": "int64"}, {"a": {"_type": "Image"}}, "a"),  # as it is marked
        ({"image": "binary", "thumb": "binary"}, {}, "image"),  # as it is called
        ({"photo": "large_binary", "y": "int64"}, {}, "photo"),  # the only one with bytes
        ({"image": "struct<bytes: binary, path: string>", "hash": "binary"}, {}, "image"),
    ],
)
def test_the_column_of_images_is_found(columns: Any, features: Any, found: str) -> None:
    assert image_column(table(columns, features), None) == found


@pytest.mark.parametrize(
    ("columns", "features", "found"),
    [
        ({"kind": "int64", "x": "binary"}, {"kind": CLASSES}, "kind"),
        ({"fine_label": "int64", "coarse_label": "int64"}, {}, "fine_label"),
        (
            {"coarse_label": "int64", "fine_label": "int64"},
            {"fine_label": CLASSES, "coarse_label": CLASSES},
            "fine_label",
        ),
        ({"id": "int64", "class": "string"}, {}, "class"),
    ],
)
def test_the_column_of_labels_is_found(columns: Any, features: Any, found: str) -> None:
    assert label_column(table(columns, features), None) == found


def test_a_column_that_is_named_is_taken_or_told() -> None:
    known = table({"a": "binary", "b": "binary", "c": "int64", "d": "int64"})
    assert image_column(known, "b") == "b"
    assert label_column(known, "d") == "d"
    with pytest.raises(DataError, match=r"dataset\.image_column is 'e', but T has .*'a' \(binary"):
        image_column(known, "e")
    with pytest.raises(DataError, match=r"'a', 'b' may be the images\. Name the column: dataset\."):
        image_column(known, None)
    with pytest.raises(DataError, match=r"none seems to be the labels.*dataset\.label_column="):
        label_column(known, None)


def test_noted_classes_keep_their_order_and_values_are_sorted() -> None:
    names, (train, test) = numbered([Labels([2, 0], ("z", "b", "a")), Labels([1], ("z", "b", "a"))])
    assert (names, train.tolist(), test.tolist()) == (("z", "b", "a"), [2, 0], [1])
    names, (train, test) = numbered([Labels(["dog", "cat"], None), Labels(["eel"], None)])
    assert (names, train.tolist(), test.tolist()) == (("cat", "dog", "eel"), [1, 0], [2])
    names, (train,) = numbered([Labels([10, 9, 10], None)])  # as numbers, not as texts
    assert (names, train.tolist()) == (("9", "10"), [1, 0, 1])
    names, (train,) = numbered([Labels(["b", "a"], ("b", "a"))])  # the names themselves
    assert (names, train.tolist()) == (("b", "a"), [0, 1])
    with pytest.raises(DataError, match="'c' is none of the noted classes"):
        numbered([Labels(["b", "c"], ("b", "a"))])
    with pytest.raises(DataError, match="notes the classes a, b, another b, a: the same number"):
        numbered([Labels([0], ("a", "b")), Labels([0], ("b", "a"))])


def test_a_row_without_a_label_is_named() -> None:
    for wrong in (None, 0.5, [1]):
        with pytest.raises(DataError, match="T, row 2: 'y' is"):
            read_labels(table({"y": "int64"}, values=[0, 1, wrong]), "y")
    assert read_labels(table({"y": "int64"}, {"y": CLASSES}, [0, 2]), "y") == ([0, 2], tuple(NAMES))


def test_images_are_decoded_from_bytes_also_beside_a_path_or_from_the_path(tmp_path: Path) -> None:
    files = [picture(seed) for seed in range(3)]
    (tmp_path / "2.png").write_bytes(files[2])
    values = [files[0], {"bytes": files[1], "path": "x.png"}]
    values.append({"bytes": None, "path": str(tmp_path / "2.png")})
    images = table({"x": "binary"}, values=values)
    assert first_image(images, "x") == files[0]
    found = decoded(images, "x", ImageReader((3, 6, 6), None, False, None))
    expected = np.stack([pixels(file) for file in files]).transpose(0, 3, 1, 2)
    assert torch.equal(found, torch.from_numpy(expected))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"not an image", "T, row 1 cannot be read as an image"),
        ({"bytes": None, "path": "nowhere.png"}, "T, row 1 holds no image"),
        (picture(1, size=(7, 6)), "T, row 1 is 7 x 6 pixels, but the first"),
    ],
)
def test_a_row_that_is_no_image_is_named(value: Any, says: str) -> None:
    images = table({"x": "binary"}, values=[picture(0), value, picture(2)])
    with pytest.raises(DataError, match=says):
        decoded(images, "x", ImageReader((3, 6, 6), None, False, None))


def test_a_table_without_rows_is_told() -> None:
    with pytest.raises(DataError, match="T has no rows"):
        first_image(table({"x": "binary"}), "x")
