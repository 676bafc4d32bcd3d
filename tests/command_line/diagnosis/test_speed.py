"""Advice is given where it is true, and nowhere else."""

import os
from pathlib import Path

import pytest

from robustrun.command_line.diagnosis import extras, folders, pytorch, speed
from robustrun.command_line.diagnosis.machine import Cores

CPU = {"version": "2.15.0", "cuda_build": None, "cuda": {"cards": [], "why": ""}}
CARD = CPU | {"cuda": {"cards": [{}]}}
ONE, EIGHT = Cores(1, 1, None), Cores(8, 8, None)


@pytest.fixture(autouse=True)
def good_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.1, 0.1), raising=False)
    monkeypatch.setattr(speed, "memory", lambda: (16e9, 8e9))
    monkeypatch.setattr(folders, "unwritable", lambda folder: None)
    monkeypatch.setattr(pytorch, "why_no_cuda", lambda answer: "")
    monkeypatch.setattr(speed, "_of_start", lambda: [])


def advice(answer: dict[str, object] = CPU, cores: Cores = ONE) -> list[str]:
    return [row.text for row in speed.section(answer, cores).findings]


def test_nothing_is_advised_on_a_good_machine() -> None:
    assert advice() == [speed.NOTHING]
    assert advice({"error": "torch does not import"}) == [speed.NOTHING]


def test_cores_that_lie_idle_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (text,) = advice(cores=EIGHT)
    assert text.startswith("OMP_NUM_THREADS=1 keeps 7 of 8 cores from a run: unset it")


@pytest.mark.parametrize("installed", [True, False])
def test_runs_of_a_sweep_side_by_side_are_advised_where_there_are_cores(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "installed", lambda extra: installed)
    (text,) = advice(cores=EIGHT)
    assert "hydra/launcher=joblib hydra.launcher.n_jobs=8 device.threads=1" in text
    assert ("pip install" in text) != installed
    assert advice(CARD, EIGHT) == [speed.NOTHING]


def test_a_busy_machine_full_memory_and_a_closed_cache_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0, 0.1, 0.1), raising=False)
    monkeypatch.setattr(speed, "memory", lambda: (16e9, 1e9))
    monkeypatch.setattr(folders, "unwritable", lambda folder: "Read-only file system")
    busy, full, closed = advice(CARD, EIGHT)
    assert "load 9.0 on 8" in busy
    assert full.startswith("1.0 GB of memory are free")
    assert "ROBUSTRUN_CACHE" in closed


def test_a_card_that_is_not_used_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "why_no_cuda", lambda answer: "the driver is too old")
    assert advice()[0] == "The GPU is not used: the driver is too old"


def test_packages_that_cannot_keep_what_was_compiled_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the fixture's
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(__import__("sys").modules, "torch", raising=False)
    assert "compiled at each start" in speed._of_start()[0]
    (tmp_path / "torch" / "__pycache__").mkdir()
    assert speed._of_start() == []
