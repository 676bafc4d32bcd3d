"""What a run writes: whole or not at all, strict JSON, readable without unpickling."""

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from robustrun.command_line.main import run_command_line
from robustrun.compute import random_state
from robustrun.errors import DataError
from robustrun.run_folder import artefacts, checkpoint
from robustrun.storage import files


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    files.write_atomically(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_no_numbers_that_json_lacks(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"loss": float("nan"), "list": [float("inf"), 1.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"loss": None, "list": [None, 1.5]}


def test_weights_come_back_and_the_file_is_the_same_each_time(tmp_path: Path) -> None:
    state = {"a": torch.rand(3, 2).T, "b": torch.tensor(3)}
    about = {"model": "m", "version": "1"}
    for name in ("one", "two"):
        artefacts.write_weights(tmp_path / name, state, about)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    loaded = artefacts.safetensors.torch.load_file(tmp_path / "one")
    assert torch.equal(loaded["a"], state["a"])


def test_a_checkpoint_comes_back_without_unpickling_code(tmp_path: Path) -> None:
    state = {
        "model": {"w": torch.rand(3)},
        "history": [{"epoch": 1}],
        "rng": random_state.rng_state(),
    }
    checkpoint.save(tmp_path, state)
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert torch.equal(loaded["model"]["w"], state["model"]["w"])
    assert loaded["history"] == [{"epoch": 1}]


@pytest.mark.parametrize("place", np.linspace(0, 0.999, 20))
def test_one_flipped_bit_of_a_checkpoint_is_noticed(tmp_path: Path, place: float) -> None:
    checkpoint.save(tmp_path, {"w": torch.rand(1000)})
    path = tmp_path / checkpoint.LAST
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="damaged"):
        checkpoint.load(tmp_path)


def test_where_no_checkpoint_was_saved_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "nowhere") is None


def test_the_checkpoint_before_is_used_where_the_last_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        checkpoint.save(tmp_path, {"number": number})
    assert checkpoint.load(tmp_path) == {"number": 3}
    whole = (tmp_path / checkpoint.LAST).read_bytes()
    for tenth in range(10):
        (tmp_path / checkpoint.LAST).write_bytes(whole[: len(whole) * tenth // 10])
        assert checkpoint.load(tmp_path) == {"number": 2}
    assert "last.ckpt is passed over" in caplog.text
    (tmp_path / checkpoint.PREVIOUS).write_bytes(b"")
    with pytest.raises(DataError, match=r"No checkpoint in .* it is empty, damaged"):
        checkpoint.load(tmp_path)


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"number": 1})
    checkpoint.save(tmp_path, {"number": 2})
    (tmp_path / checkpoint.LAST).rename(tmp_path / f"{checkpoint.LAST}.new")
    assert checkpoint.load(tmp_path) == {"number": 2}


def test_every_generator_comes_back(tmp_path: Path) -> None:
    random.gauss(0, 1), np.random.randn()  # leave a second normal value waiting
    checkpoint.save(tmp_path, {"rng": random_state.rng_state()})

    def drawn() -> list[float]:
        return [random.gauss(0, 1), random.random(), np.random.randn(), float(torch.rand(()))]

    expected = drawn()
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    random_state.restore_rng(loaded["rng"])
    assert drawn() == expected


@contextmanager
def masked(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077])
def test_a_new_file_may_be_read_by_whom_the_umask_lets(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with masked(umask):
        files.write_atomically(path, b"old")
        files.write_atomically(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_whatever_a_sweep_leaves_has_the_permissions_of_the_umask(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["training.epochs=1", "evaluation=none", "evaluation.examples=20", "device.threads=1"]
    with masked(umask):
        assert run_command_line(["-m", "seed=0,1", *words]) == 0
        assert run_command_line(["report", "outputs", "--csv", "table/t.csv"]) == 0
    made = list(tmp_path.rglob("*"))
    assert {"checkpoint", "t.csv", "summary.csv", "report.html", "run.log"} <= {
        p.name for p in made
    }
    for path in made:
        allowed = 0o777 if path.is_dir() else 0o666
        assert path.stat().st_mode & 0o777 == allowed & ~umask, path
