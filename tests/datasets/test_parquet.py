"""Parquet files: which are of which split, and what is said of those that cannot be read."""

import builtins
from pathlib import Path
from typing import Any

import pytest

from datasets.small_tables import FEATURES, picture, write_parquet
from robustrun.datasets.parquet import read_parquet, split_of
from robustrun.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("root/data/train-00000-of-00001.parquet", "train"),
        ("root/plain_text/test/0000.parquet", "test"),
        ("root/validation.parquet", "validation"),
        ("root/dev/part_1.parquet", "validation"),
        ("root/eval-00001.parquet", "test"),
        ("root/0000.parquet", "train"),
        ("latest/photographs.parquet", "train"),  # no word of its own
    ],
)
def test_a_files_name_or_its_folders_say_its_split(file: str, split: str) -> None:
    assert split_of(Path(file)) == split


def test_the_parts_of_a_split_are_read_in_order_a_column_at_a_time(tmp_path: Path) -> None:
    for number, labels in enumerate([[2, 1, 0], [1]]):
        place = tmp_path / "data" / f"train-0000{number}-of-00002.parquet"
        write_parquet(place, [picture(label) for label in labels], labels, FEATURES)
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [picture(9)], [0], FEATURES)
    tables = read_parquet(tmp_path, None)
    assert sorted(tables) == ["test", "train"]
    assert tables["train"].rows == 4
    assert [x for batch in tables["train"].batches("label") for x in batch] == [2, 1, 0, 1]
    assert list(tables["train"].columns) == ["img", "label"]
    assert tables["train"].features["label"]["names"] == ["ant", "bee", "cat"]


def test_a_split_of_which_a_file_is_missing_is_not_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split in ("train", "test"):
        write_parquet(tmp_path / f"{split}-00001-of-00003.parquet", [picture(1)], [0], FEATURES)
    lacks = r"lacks test-00000-of-00003\.parquet: 2 of the 3 files of split 'test' are missing"
    with pytest.raises(DataError, match=lacks):
        read_parquet(tmp_path, None)
    (only,) = read_parquet(tmp_path / "test-00001-of-00003.parquet", None).values()
    assert only.rows == 1  # a file that was chosen
    (tmp_path / "test-00001-of-00003.parquet").rename(tmp_path / "test.parquet")
    assert sorted(read_parquet(tmp_path, None)) == ["test", "train"]
    assert "2 of the 3 files of split 'train' are missing" in caplog.text


def test_one_file_is_a_split_alone(tmp_path: Path) -> None:
    write_parquet(tmp_path / "mine.parquet", [picture(1)], [0])
    (table,) = read_parquet(tmp_path / "mine.parquet", None).values()
    assert (table.rows, table.features) == (1, {})


def test_of_several_data_sets_in_a_folder_one_must_be_chosen(tmp_path: Path) -> None:
    for name in ("fine", "coarse"):
        for split in ("train", "test"):
            write_parquet(tmp_path / name / f"{split}.parquet", [picture(1)], [0], FEATURES)
    with pytest.raises(DataError, match=r"several data sets: coarse, fine.*dataset\.config=coarse"):
        read_parquet(tmp_path, None)
    assert sorted(read_parquet(tmp_path, "fine")) == ["test", "train"]


def test_files_of_one_split_that_count_their_classes_differently_are_refused(
    tmp_path: Path,
) -> None:
    turned = FEATURES | {"label": {"names": ["bee", "ant", "cat"], "_type": "ClassLabel"}}
    for number, features in enumerate((FEATURES, turned)):
        write_parquet(tmp_path / f"train-{number}.parquet", [picture(1)], [0], features)
    with pytest.raises(DataError, match=r"train-1\.parquet notes other classes or kinds of col"):
        read_parquet(tmp_path, None)


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no parquet files.*dataset=image_folder"):
        read_parquet(tmp_path, None)
    (tmp_path / "train.parquet").write_bytes(b"PAR1 but not more")
    with pytest.raises(DataError, match=r"train\.parquet cannot be read as parquet"):
        read_parquet(tmp_path, None)


def test_files_of_a_split_must_have_the_same_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", [picture(1)], [0])
    write_parquet(tmp_path / "train-1.parquet", [picture(1)], [0], names=("img", "class"))
    with pytest.raises(DataError, match=r"train-1\.parquet has other columns"):
        read_parquet(tmp_path, None)


def test_without_pyarrow_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "train.parquet", [picture(1)], [0])
    known = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'robustrun\[hf\]'"):
        read_parquet(tmp_path, None)
