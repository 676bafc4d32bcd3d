"""What is said of PyTorch: devices, precision, threads, compiler, and what helps."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from robustrun.command_line.diagnosis import pytorch
from robustrun.command_line.diagnosis.findings import Finding
from robustrun.command_line.diagnosis.machine import Cores

CORES = Cores(machine=8, allowed=8, quota=None)
CPU = {
    "faults": {},
    "version": "2.15.0",
    "cuda_build": "13.2",
    "vectors": "AVX2",
    "cuda": {"cards": [], "why": ""},
    "precision": {"device": "cpu", "bfloat16": False},
    "mps": False,
}
CARD = {"name": "H100", "capability": "9.0", "free": 70e9, "total": 80e9}


@pytest.fixture(autouse=True)
def no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "CUDA_VISIBLE_DEVICES", "CXX"):
        monkeypatch.delenv(name, raising=False)


def rows(**changed: Any) -> dict[str, Finding]:
    found = pytorch.section(CPU | changed, CORES).findings
    return {row.name: row for row in found}


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        ("ImportError: libcudart.so.13: cannot open shared object", "CUDA libraries are missing"),
        ("its process was ended by signal 4", "lacks instructions"),
        ("ImportError: libtorch_cpu.so: failed to map segment", "ulimit -v"),
        ("ImportError: undefined symbol", "damaged or of another Python"),
    ],
)
def test_a_torch_that_does_not_import_is_broken_and_told_with_what_helps(
    error: str, helps: str
) -> None:
    asked, alone = pytorch.section({"faults": {"torch": error}}, CORES), {"error": error}
    assert asked == pytorch.section(alone, CORES)
    (row,) = asked.findings
    assert (row.name, row.state) == ("import torch", "broken")
    assert row.text.startswith(error)
    assert helps in row.text


def test_a_torchvision_of_another_release_is_told_to_be_one() -> None:
    fault = "RuntimeError: operator torchvision::nms does not exist"
    row = rows(faults={"torchvision": fault})["import torchvision"]
    assert row.state == "broken"
    assert "It and torch must come from one release: pip install" in row.text


def test_a_machine_without_a_card_is_fine() -> None:
    assert rows()["CUDA"] == Finding("CUDA", "no NVIDIA card is found")


def test_a_card_is_told_with_its_memory_and_driver(tmp_path: Path) -> None:
    pytorch.DRIVER.write_text("NVRM version: NVIDIA UNIX Open Kernel Module  570.86.10  Release")
    row = rows(cuda={"cards": [CARD]})["CUDA card 0"]
    about = "H100, compute capability 9.0, 70 GB of 80 GB free, driver 570.86.10"
    assert row.text == about


def test_a_card_that_this_build_cannot_use_is_a_remark_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytorch.DRIVER.write_text("570.86.10")
    assert "is built without CUDA" in rows(cuda_build=None)["CUDA"].text
    assert rows()["CUDA"].state == "remark"
    why = {"cards": [], "why": "The NVIDIA driver on your system is too old"}
    assert rows(cuda=why)["CUDA"].text == why["why"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES= hides the cards" in rows()["CUDA"].text


@pytest.mark.parametrize(
    ("kind", "units", "text"),
    [
        ("cpu", False, "float32: cpu lacks units for bfloat16"),
        ("cpu", True, "bfloat16 on cpu"),
        ("cuda", False, "compute capability 8.0 or more"),
        ("mps", False, "float32: mps"),
    ],
)
def test_it_is_told_which_precision_auto_takes_and_why(kind: str, units: bool, text: str) -> None:
    found = rows(precision={"device": kind, "bfloat16": units})
    assert text in found["device.precision=auto"].text


def test_threads_that_a_variable_takes_away_are_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows()["threads"].text.startswith("a run takes up to 8 cores (OMP_NUM_THREADS is not")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    row = rows()["threads"]
    assert row.text == "a run takes 2 of 8 cores, since OMP_NUM_THREADS=2"
    assert row.state == "remark"


def test_torch_compile_is_told_to_need_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rows()["device.compile"].state == "remark"
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert "g++" in rows()["device.compile"].text or "cl" in rows()["device.compile"].text
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert "apt install python3-dev" in rows()["device.compile"].text
