"""What files say of themselves, read without torch; of anything else nothing is said."""

import json
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from robustrun.storage.header import EXTRA, KEY, header, holds_run
from storage.zips import encrypt


def weights(file: Path, about: str) -> Path:
    safetensors.torch.save_file({"w": torch.ones(2)}, file, {KEY: about})
    return file


def test_weights_and_programs_say_the_same(tmp_path: Path) -> None:
    about = {"model": "small_cnn", "run": {}}
    assert header(weights(tmp_path / "a.safetensors", json.dumps(about))) == about
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr(f"a/extra/{EXTRA}", json.dumps(about))
    assert header(tmp_path / "a.pt2") == about
    assert holds_run(tmp_path / "a.safetensors")
    assert not holds_run(weights(tmp_path / "b.safetensors", '{"model": "small_cnn"}'))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x08\x00" * 20, b"text"])
def test_other_files_say_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert header(tmp_path / "file") == {}
    assert not holds_run(tmp_path / "file")


def test_neither_does_an_encrypted_program(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr(f"a/extra/{EXTRA}", '{"run": {}}')
    assert holds_run(tmp_path / "a.pt2")
    assert header(encrypt(tmp_path / "a.pt2")) == {}


def test_neither_do_a_folder_a_missing_file_and_damaged_words(tmp_path: Path) -> None:
    assert header(tmp_path / "missing") == header(tmp_path) == {}
    assert not holds_run(tmp_path)
    assert header(weights(tmp_path / "list.safetensors", "[1]")) == {}
    assert header(weights(tmp_path / "torn.safetensors", '{"model')) == {}
    with zipfile.ZipFile(tmp_path / "empty.pt2", "w") as archive:
        archive.writestr("a/other", "")
    assert header(tmp_path / "empty.pt2") == {}
