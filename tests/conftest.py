"""Shared by all tests: one thread, and PyTorch's global state left as it was found."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch

torch.set_num_threads(1)  # tiny networks: a second thread only waits


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
