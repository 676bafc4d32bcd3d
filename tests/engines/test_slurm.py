"""Sweeps on a Slurm of one node: what its limits end, and what it preempts and queues again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.engines.misbehaving import (
    put_plugin,
    robustrun,
    rows,
    started,
    statuses,
    swept,
    wait_until,
)
from tests.short_run import SHORT

pytestmark = pytest.mark.engines
CLUSTER = Path(__file__).with_name("cluster")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "sacct", "sbatch")
ONE_CPU = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm of this machine, in the environment of what the tests start."""
    pytest.importorskip("submitit", reason="submitit is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.pathsep.join(["/usr/sbin", "/sbin"]), prepend=os.pathsep)
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing or os.getuid() != 0:
            pytest.skip(f"a Slurm for tests needs root and {', '.join(missing) or 'root'}")
        folder = tmp_path_factory.mktemp("slurm")
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            subprocess.run(["bash", CLUSTER / "up.sh", folder], check=True, timeout=180)
            yield
        finally:
            subprocess.run(["bash", CLUSTER / "down.sh", folder], timeout=60)


@pytest.mark.long
def test_what_a_job_does_or_meets_ends_no_other_and_is_named(slurm: None, tmp_path: Path) -> None:
    put_plugin(tmp_path)
    done = robustrun(tmp_path, *swept("good", "raise", "exit", "kill", "fill"), *ONE_CPU)
    assert statuses(tmp_path) == ["completed", "failed", "failed", "", ""], done.stderr
    assert done.returncode == 1
    assert "4 of 5 runs of this sweep failed" in done.stderr
    assert "launched again" not in done.stderr, "each job ended by itself"
    assert [row["status"] for row in rows(tmp_path)][3:] == ["killed", "killed"]
    (tmp_path / "mended").touch()
    done = robustrun(tmp_path, "resume", "all", *ONE_CPU)
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path) == ["completed"] * 5


def test_a_job_that_is_preempted_and_out_of_time_ends_with_the_same_bits(
    slurm: None, tmp_path: Path
) -> None:
    put_plugin(tmp_path)
    words = swept("slow", epochs=30)
    with started(tmp_path, *words, *ONE_CPU) as driver:
        metrics = tmp_path / "all" / "0" / "metrics.csv"
        wait_until(metrics.exists, driver)
        subprocess.run(["scancel", "--signal=USR2", *_jobs()], check=True)  # as its time runs out
        wait_until(lambda: _states() == ["PENDING"], driver)
        before = _epochs(metrics)
        wait_until(lambda: _epochs(metrics) > before, driver)
        urgent = ("-p", "urgent", "--exclusive", "--mem=0", "sleep", "1")
        subprocess.run(["srun", *urgent], check=True, timeout=120)
        assert driver.wait(180) == 0, (tmp_path / "log").read_text()
    origin = json.loads((tmp_path / "all" / "0" / "checkpoint" / "origin.json").read_text())
    assert len(origin["resumed_at"]) == 2
    assert [path.name for path in (tmp_path / "all").glob("[0-9]*")] == ["0"]
    (tmp_path / "all").rename(tmp_path / "disturbed")
    (tmp_path / "mended").touch()  # the same steps, without their pauses
    assert robustrun(tmp_path, *words).returncode == 0
    one, other = tmp_path / "all" / "0", tmp_path / "disturbed" / "0"
    weights = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    with np.load(one / "predictions.npz") as ours, np.load(other / "predictions.npz") as theirs:
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_a_driver_that_is_told_to_end_leaves_its_jobs_in_the_queue(
    slurm: None, tmp_path: Path
) -> None:
    put_plugin(tmp_path)
    with started(tmp_path, *swept("slow", epochs=1000), *ONE_CPU) as driver:
        wait_until(lambda: _states() == ["RUNNING"], driver)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(60) == 143
        assert "the jobs stay in the queue. To end them: scancel" in (tmp_path / "log").read_text()
        assert _states() == ["RUNNING"]
        subprocess.run(["scancel", *_jobs()], check=True)
        wait_until(lambda: _states() == [])


def test_the_tasks_of_a_step_are_the_processes_of_one_run(slurm: None, tmp_path: Path) -> None:
    words = [*SHORT, "device=cpu", "hydra.run.dir=run"]
    command = ["srun", "-n", "2", "--overcommit", sys.executable, "-m", "robustrun", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("measured with") == 1
    assert [place.name for place in tmp_path.iterdir()] == ["run"]
    results = json.loads((tmp_path / "run" / "results.json").read_bytes())
    assert results["run"]["status"] == "completed"
    assert results["environment"]["processes"] == 2


def _jobs() -> list[str]:
    return [line.split()[0] for line in _queue()]


def _states() -> list[str]:
    return [line.split()[1] for line in _queue()]


def _queue() -> list[str]:
    told = subprocess.run(
        ["squeue", "-h", "-o", "%i %T"], capture_output=True, text=True, check=True
    )
    return told.stdout.splitlines()


def _epochs(metrics: Path) -> int:
    return len(metrics.read_text().splitlines())
