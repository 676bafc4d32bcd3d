"""Every random generator that a run draws from."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from robustrun.compute import random_state
from robustrun.run_folder import checkpoint


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


def test_a_seed_decides_what_each_generator_draws() -> None:
    def drawn(seed: int) -> list[float]:
        random_state.seed_everything(seed)
        return [random.random(), np.random.rand(), float(torch.rand(()))]

    first, again, other = drawn(3), drawn(3), drawn(4)
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_reading_the_state_draws_nothing() -> None:
    random_state.seed_everything(1)
    expected = [random.random(), np.random.rand(), float(torch.rand(()))]
    random_state.seed_everything(1)
    random_state.rng_state()
    assert [random.random(), np.random.rand(), float(torch.rand(()))] == expected


def test_the_state_of_gpus_is_kept_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [torch.arange(16, dtype=torch.uint8)]
    restored: list[list[torch.Tensor]] = []
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.append)
    assert "cuda" not in random_state.rng_state()
    without = random_state.rng_state()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    random_state.restore_rng(without)  # made on a machine without one
    assert restored == []
    random_state.restore_rng(random_state.rng_state())
    assert restored == [states]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    random_state.restore_rng(random_state.rng_state() | {"cuda": states})
    assert restored == [states]
