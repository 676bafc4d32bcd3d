"""Several processes on gloo do what one does: steps, verdicts, resumed and killed runs."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import torch

from robustrun import experiment
from robustrun.command_line.experiments import experiments
from robustrun.command_line.main import run_command_line
from robustrun.command_line.sweep import Session
from robustrun.compute import agent, processes
from robustrun.compute.place import LOOPBACK, Place
from robustrun.configuration.run_config import load_config
from robustrun.errors import RobustrunError
from robustrun.run_folder.provenance import configuration
from robustrun.run_folder.schema import read_record
from tests.engines import steps
from tests.short_run import SHORT

pytestmark = pytest.mark.engines
# float64: sums in another order, which 21 steps of batch norm and of l2 projections let grow. A
# wrong weight of a row, or a draw of another, shows in the first digits.
TOLERANCE = 1e-9
TWO = ["standard", "pgd_at", "trades", "trades_awp", "robal", "pat"]
APART = "apart"  # batch norm of each process's own rows: the processes agree, but not with one
RESUMED = ["free_at", "trades_l2"]
FOUR = ["trades", "robal", "gaussian", "notebook_robal"]
TEXT: dict[str, Any] = {"capture_output": True, "text": True}


def torchrun(count: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={count}", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(autouse=True)
def float32_again() -> Iterator[None]:
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


def require_same(folder: Path, method: str, one: dict[str, Any]) -> None:
    together = torch.load(folder / f"{method}.pt")
    assert together["losses"] == pytest.approx(one["losses"], rel=TOLERANCE), method
    assert together["robust"] == one["robust"], method
    assert together["steps"] == one["steps"] >= 20, method
    assert steps.difference(together["weights"], one["weights"]) < TOLERANCE, method


def test_two_and_four_processes_take_the_steps_and_find_the_verdicts_of_one(tmp_path: Path) -> None:
    two, one, four = tmp_path / "two", tmp_path / "one", tmp_path / "four"
    for folder in (two, one, four):
        folder.mkdir()
    alone = {method: steps.trained(method) for method in {*TWO, *FOUR, *RESUMED}}
    torch.save(alone["standard"]["weights"], weights := tmp_path / "weights.pt")
    done = torchrun(2, "-m", "tests.engines.steps", str(two), str(weights), *TWO, *RESUMED, APART)
    assert done.returncode == 0, done.stderr
    for method in RESUMED:  # two processes, then one, then four
        steps.trained(method, one / method, two / method / "previous.ckpt")
        shutil.copy(one / method / "last.ckpt", four / f"{method}.ckpt")
    program = ["-m", "tests.engines.steps", str(four), str(weights)]
    agent.run_processes(4, [*program, *FOUR, *RESUMED])
    for folder, methods in ((two, TWO), (two, RESUMED), (four, FOUR), (four, RESUMED)):
        for method in methods:
            require_same(folder, method, alone[method])
    apart, one_has = torch.load(two / "apart.pt"), steps.trained(APART)
    assert steps.difference(apart["weights"], one_has["weights"]) > TOLERANCE
    assert apart["losses"] == pytest.approx(one_has["losses"], rel=0.1)
    verdicts = steps.measured(torch.load(weights), one)
    assert sum(verdicts["clean"]) > 0
    for folder in (two, four):
        assert torch.load(folder / "verdicts.pt") == verdicts
    assert (four / "journal.3").is_file()  # each process noted what it found
    (run,) = (two / "outputs").glob("*/*")  # one, which both processes did
    record = read_record(run)
    assert record.environment is not None
    assert record.environment.processes == 2
    assert record.training is not None
    assert record.dataset is not None
    took = 0.02 * math.ceil(record.dataset.train_size / 256)  # an epoch of the slower process
    assert record.training.fitted_epochs == int(0.98 * 0.5 / took) == 4


def started(folder: Path) -> subprocess.Popen[str]:
    """A run in two processes, once it has a checkpoint."""
    words = [*SHORT[1:], "training.epochs=60", "training.checkpoint_steps=5", "device.processes=2"]
    command = [sys.executable, "-m", "robustrun", *words, f"hydra.run.dir={folder}"]
    run = subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True)
    while run.poll() is None:
        if (folder / "checkpoint" / "last.ckpt").is_file():
            return run
        time.sleep(0.1)
    raise AssertionError(run.communicate()[1])


def workers(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(parent)], **TEXT).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "worker" in line]


def listening(process: int) -> set[str]:
    """The addresses that a process listens on, as Linux writes them."""
    links = [Path(os.readlink(file)).name for file in Path(f"/proc/{process}/fd").iterdir()]
    sockets = {link.removeprefix("socket:[").removesuffix("]") for link in links}
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]
    ]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and line[9] in sockets}


def test_a_run_whose_process_is_killed_fails_and_is_continued_by_another_number(
    tmp_path: Path,
) -> None:
    run, began = started(tmp_path / "run"), time.monotonic()
    if sys.platform == "linux":
        every = set().union(*(listening(process) for process in (run.pid, *workers(run.pid))))
        assert every == {"0100007F"}  # 127.0.0.1
    os.kill(workers(run.pid)[1], signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert run.returncode == 1
    assert said.splitlines()[-1] == (
        "robustrun: The run was stopped: process 1 of 2 was ended by SIGKILL, perhaps for its "
        "memory."
    )
    record = read_record(tmp_path / "run")
    assert record.run.status == "failed"
    assert "process 1 of 2 was killed" in str(record.run.error)
    assert record.environment is not None
    assert record.environment.processes == 2
    with processes.together(Place(0, 1, 0, True, LOOPBACK, 0, None)):  # as torchrun with one
        record = experiment.run(load_config(configuration(tmp_path / "run")), tmp_path / "run")
    assert record.run.status == "completed"
    assert len(record.run.resumed_at) == 1
    assert record.environment is not None
    assert record.environment.processes == 1
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 61


def test_what_is_wrong_for_all_processes_is_said_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["dataset=image_folder", "dataset.root=nowhere", "device.processes=2"]
    assert run_command_line([*SHORT, *words]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    told = [line for line in printed.err.splitlines() if "everything is written" not in line]
    assert len(told) == 1
    assert "nowhere is not a folder" in told[0]


def test_a_sweep_is_no_run_of_several_processes(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "0")
    with pytest.raises(RobustrunError, match="=4 each of its runs has 4"):
        experiments(["-m", "seed=0,1"], Session())
