"""Files of paths and labels: what they may look like, and what is said of a wrong row."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from datasets.small_sets import folder, save
from robustrun.errors import DataError
from robustrun.types import Splits

SIX = [f"photos/{name}.png" for name in "abcdef"]
LABELS = ["bee", "ant", "bee", "ant", "bee", "ant"]
PARTS = ["train", "train", "train", "train", "test", "test"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(SIX):
        save(tmp_path / name, seed)
    return tmp_path


def listed(root: Path, text: str, name: str = "labels.csv", **changed: Any) -> Splits:
    (root / name).write_text(text, encoding="utf-8")
    return folder(root, labels=str(root / name), **changed).load()


def table(*columns: list[str], header: str, between: str = ",") -> str:
    rows = [between.join(cells) for cells in zip(*columns, strict=True)]
    return "\n".join([header, *rows]) + "\n"


def names(images: Any) -> list[str]:
    return [os.fsdecode(name) for name in images.files.names.tolist()]


@pytest.mark.parametrize(
    ("name", "between", "mark"),
    [("l.csv", ",", ""), ("l.csv", ";", "\ufeff"), ("l.tsv", "\t", ""), ("l.txt", "\t", "")],
)
def test_parts_are_those_of_the_column(root: Path, name: str, between: str, mark: str) -> None:
    header = mark + between.join(("path", "label", "split"))
    text = table(SIX, LABELS, PARTS, header=header, between=between)
    splits = listed(root, text, name)
    assert splits.class_names == ("ant", "bee")
    assert (names(splits.train), splits.train.labels.tolist()) == (SIX[:4], [1, 0, 1, 0])
    assert (names(splits.test), splits.test.labels.tolist()) == (SIX[4:], [1, 0])
    assert splits.test_from is None


def test_without_the_column_a_test_part_is_held_out(root: Path) -> None:
    splits = listed(root, table(LABELS, SIX, header="label,path"), test_fraction=0.34)
    assert splits.train.labels.bincount().tolist() == [2, 2]
    assert splits.test.labels.bincount().tolist() == [1, 1]
    assert sorted([*names(splits.train), *names(splits.test)]) == SIX
    assert str(splits.test_from).startswith("held out: 0.34 of each class")


def test_val_is_the_test_part_only_where_there_is_no_test(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    parts = ["train", "train", "VAL", "validation", "test", "test"]
    splits = listed(root, table(SIX, LABELS, parts, header="path,label,split"))
    assert (names(splits.train), names(splits.test)) == (SIX[:2], SIX[4:])
    assert "the 2 rows of" in caplog.text
    parts = ["train", "train", "train", "train", "val", "val"]
    splits = listed(root, table(SIX, LABELS, parts, header="path,label,split"))
    assert (names(splits.test), splits.test_from) == (SIX[4:], "val")


def test_a_test_part_alone_can_be_measured(root: Path) -> None:
    splits = listed(root, table(SIX, LABELS, ["test"] * 6, header="path,label,split"))
    assert (len(splits.train), len(splits.test)) == (0, 6)


def test_numbers_are_classes_in_their_order(root: Path) -> None:
    splits = listed(root, table(SIX, ["10", "2"] * 3, PARTS, header="path,label,split"))
    assert splits.class_names == ("2", "10")
    assert splits.test.labels.tolist() == [1, 0]


def test_paths_may_be_absolute_and_the_file_may_lie_below_the_root(root: Path) -> None:
    absolute = [str(root / name) for name in SIX]
    (root / "labels.csv").write_text(table(absolute, LABELS, PARTS, header="path,label,split"))
    splits = folder(root, labels="labels.csv").load()
    assert names(splits.train) == SIX[:4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,lable\na,b\n", r"row 1: 'lable' is not a column\. Did you mean 'label'"),
        ("path,split\na,train\n", r"has no column 'label'"),
        ("path,path,label\na,a,b\n", r"has a column twice"),
        ("path,label\nphotos/a.png\n", r"row 2 has 1 cells, but there are 2 columns"),
        ("path,label\nphotos/a.png,x\nphotos/b.png,\n", r"row 3: the label is empty"),
        (
            "path,label\nphotos/a.png,x\n\nphotos/./a.png,y\n",
            r"row 4: 'photos/\./a\.png' is in row 2 already",
        ),
        (
            "path,label\nphotos/a.png,x\nphotos/z.png,y\nz,y\n",
            r"row 3: there is no file 'photos/z\.png' \(of 3 rows, 2 have none\).*dataset\.root",
        ),
        ("path,label,split\nphotos/a.png,x,dev\n", r"row 2: the split is 'dev', but must be train"),
        ("path,label\nphotos/a.png,x\nphotos/b.png,x\n", r"two classes, but has 'x'"),
        ("path,label\n", r"lists no image"),
        (
            "path,label,split\nphotos/a.png,x,train\nphotos/b.png,y,test\nphotos/c.png,x,test\n",
            r"the test part of .* has images of 'y', of which the part to train on has none",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_row(root: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"^dataset\.labels: .*{message}"):
        listed(root, text)


def test_a_root_that_is_not_the_files_folder_is_hinted_at(root: Path, tmp_path: Path) -> None:
    (root / "labels.csv").write_text(table(SIX, LABELS, header="path,label"))
    with pytest.raises(DataError, match=rf"This one is below {root}: set dataset\.root to that"):
        folder(tmp_path / "elsewhere", labels=str(root / "labels.csv")).load()
    with pytest.raises(DataError, match=r"none\.csv is not there, nor is"):
        folder(root, labels="none.csv").load()
