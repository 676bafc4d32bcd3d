"""Which files of class folders count, and which trees are refused."""

import logging
import os
from pathlib import Path

import pytest

from datasets.small_sets import broken, folder, make_tree
from robustrun.datasets.tree import find_tree
from robustrun.errors import DataError


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("empty class", r"train/bee has no images"),
        ("missing split", r"has train/ and beside it 'others', but neither test/ nor val/"),
        ("extra in test", r"/test has 1 class folder that .*/train lacks: 'cat'"),
        ("extra in train", r"/train has 1 class folder that .*/test lacks: 'cat'"),
        ("one class", r"/train needs at least two class folders.*only 'bee'"),
    ],
)
def test_tree_that_is_not_as_it_should_be_is_refused(
    tmp_path: Path, fault: str, message: str
) -> None:
    broken(tmp_path, fault)
    with pytest.raises(DataError, match=message):
        folder(tmp_path).load()


def test_empty_and_missing_trees_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder.*dataset\.root"):
        folder(tmp_path / "nowhere").load()
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"at least two class folders.*has none"):
        folder(tmp_path).load()


def test_hidden_and_other_files_do_not_count(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "train" / "bee" / "._0.png").write_bytes(b"")
    (tmp_path / "train" / "bee" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "train" / ".cache").mkdir()
    assert len(folder(tmp_path).load().train) == 8


def empty_files(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return root


def names(root: Path) -> list[list[str]]:
    _, train, test, _ = find_tree(str(root), "train", "test")
    return [[os.fsdecode(name) for name in part.names.tolist()] for part in (train, test)]


GOOD = ("train/a/0.png", "train/b/0.png", "test/a/0.png", "test/b/0.png")


def test_images_of_sub_folders_belong_to_their_class(tmp_path: Path) -> None:
    empty_files(tmp_path, *GOOD, "train/a/more/deep/1.jpg", "train/a/images/2.JPEG")
    assert names(tmp_path)[0] == ["a/0.png", "a/images/2.JPEG", "a/more/deep/1.jpg", "b/0.png"]


def test_link_that_leads_back_up_ends_nothing(tmp_path: Path) -> None:
    empty_files(tmp_path, *GOOD)
    (tmp_path / "train/a/again").symlink_to(tmp_path / "train/a")
    (tmp_path / "elsewhere").mkdir()
    empty_files(tmp_path, "elsewhere/3.png")
    (tmp_path / "train/b/linked").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path)[0] == ["a/0.png", "b/0.png", "b/linked/3.png"]


def test_what_is_ignored_is_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    empty_files(tmp_path, *GOOD, *(f"train/a/{n}.txt" for n in range(28)), "train/notes.md")
    empty_files(tmp_path, "train/a/x.heic", "train/b/deep/y.HEIC", "train/b/README", "train/b/.x")
    names(tmp_path)
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert f"33 files ignored below {tmp_path / 'train'}: 28 .txt, 2 .heic, " in told
    for part in ("1 beside the class folders", "1 without an ending", "1 hidden"):
        assert part in told
    assert f"below {tmp_path / 'test'}" not in told


@pytest.mark.parametrize("where", [("train/old", "test/old"), ("train/old",), ("test/old",)])
def test_class_folder_that_is_empty_everywhere_is_left_out_and_told(
    tmp_path: Path, where: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    empty_files(tmp_path, *GOOD)
    for place in where:
        (tmp_path / place).mkdir()
    classes, train, _, _ = find_tree(str(tmp_path), "train", "test")
    assert classes == ("a", "b")
    assert train.labels.tolist() == [0, 1]
    assert "class folders without any file are left out: 'old'" in caplog.text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("train/c/0.png", "test/c/0.txt"), r"test/c has no images .*remove the class from both"),
        (("train/c/0.heic", "test/c/0.heic"), r"train/c has no images"),
        (("train/c/0.heic",), r"train has 1 class folder that .*/test lacks: 'c'"),
    ],
)
def test_class_folder_that_is_not_empty_must_have_images_in_both(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    empty_files(tmp_path, *GOOD, *files)
    with pytest.raises(DataError, match=message):
        names(tmp_path)
