"""Checkpoints: whole or not at all, read without unpickling, and the one before as a reserve."""

from pathlib import Path

import numpy as np
import pytest
import torch

from robustrun.compute import random_state
from robustrun.errors import DataError
from robustrun.run_folder import checkpoint


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
