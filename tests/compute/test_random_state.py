"""Every random generator that a run draws from."""

import random
from pathlib import Path

import numpy as np
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
