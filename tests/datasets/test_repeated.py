"""Test images that are among the training images."""

import shutil
from pathlib import Path

import pytest
import torch

from datasets.small_sets import digits, folder, make_tree, numbered
from robustrun.datasets.repeated import tell_repeated


def test_equal_pixels_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    train, test = numbered(6), numbered(9)
    tell_repeated(train, test)
    assert "6 of the 9 test images are among the training images" in caplog.text
    caplog.clear()
    tell_repeated(train, test.subset(torch.tensor([6, 7])))
    assert caplog.text == ""


def test_equal_files_are_counted_whatever_their_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_tree(tmp_path)
    shutil.copy(tmp_path / "train" / "bee" / "1.png", tmp_path / "test" / "ant" / "new.png")
    splits = folder(tmp_path).load()
    tell_repeated(splits.train, splits.test)
    assert "1 of the 5 test images are among the training images" in caplog.text


def test_what_is_read_while_training_is_not_read_for_this(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("robustrun.datasets.repeated.content_digests", never)
    splits = folder(make_tree(tmp_path), memory_limit_gb=0.0).load()
    tell_repeated(splits.train, splits.test)
    assert caplog.text == ""


def test_the_embedded_digits_have_none(caplog: pytest.LogCaptureFixture) -> None:
    splits = digits().load()
    tell_repeated(splits.train, splits.test)
    assert caplog.text == ""
