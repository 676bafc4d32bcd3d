"""Several processes on gloo do what one does: steps, verdicts, resumed and killed runs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from robustrun.devices import agent
from tests.engines import steps

pytestmark = pytest.mark.engines
# float64: sums in another order, which 24 steps of batch norm and of l2 projections let grow. A
# wrong weight of a row, or a draw of another, shows in the first digits.
TOLERANCE = 1e-9
ALL = ["standard", "pgd_at", "trades", "trades_awp", "free_at", "robal", "mart", "pat"]
SOME = ["trades", "free_at", "robal", "notebook_robal"]


def quiet() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def torchrun(count: int, *arguments: str, seconds: int = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={count}", *arguments]
    return subprocess.run(command, env=quiet(), capture_output=True, text=True, timeout=seconds)


@pytest.fixture
def alone() -> dict[str, dict[str, Any]]:
    """What one process makes of the steps."""
    before = torch.get_default_dtype()
    try:
        return {method: steps.trained(method) for method in {*ALL, *SOME}}
    finally:
        torch.set_default_dtype(before)


def test_two_and_four_processes_take_the_steps_of_one(
    tmp_path: Path, alone: dict[str, dict[str, Any]]
) -> None:
    two, four = tmp_path / "two", tmp_path / "four"
    two.mkdir()
    four.mkdir()
    done = torchrun(2, "-m", "tests.engines.steps", str(two), *ALL)
    assert done.returncode == 0, done.stderr
    agent.run_processes(4, ["-m", "tests.engines.steps", str(four), *SOME])
    for folder, methods in ((two, ALL), (four, SOME)):
        for method in methods:
            together, one = torch.load(folder / f"{method}.pt"), alone[method]
            assert together["losses"] == pytest.approx(one["losses"], rel=TOLERANCE), method
            assert together["robust"] == one["robust"], method
            assert together["steps"] == one["steps"] >= 20, method
            assert steps.difference(together["weights"], one["weights"]) < TOLERANCE, method
