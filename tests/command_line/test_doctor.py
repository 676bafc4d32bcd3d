"""`robustrun doctor`, on this machine and where something is broken."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from robustrun.command_line import doctor
from robustrun.command_line.diagnosis.findings import Finding, Section
from robustrun.command_line.diagnosis.probe import Answer
from robustrun.command_line.main import run_command_line

TITLES = [
    "Versions",
    "Machine",
    "Optional parts",
    "Folders and network",
    "PyTorch",
    "What would make runs faster here",
]


class Asked:
    """A probe that has its answer."""

    def answer(self, waiting: object) -> Answer:
        return {"error": "OSError: libtorch.so"}


@pytest.fixture
def torchless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "Probe", Asked)


def test_a_process_of_its_own_tells_everything_as_json(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "robustrun", "doctor", "--json"]
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    report = json.loads(found.stdout)
    assert list(report["sections"]) == TITLES
    assert (found.returncode, report["healthy"]) == (0, True), found.stdout
    rows = {row["name"]: row["text"] for part in report["sections"].values() for row in part}
    assert rows["device.precision=auto"].startswith(("float32", "bfloat16"))
    assert list(tmp_path.iterdir()) == []


def test_a_torch_that_does_not_import_is_told_last_and_ends_with_1(
    torchless: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["doctor"]) == 1
    said = capsys.readouterr().out
    places = [said.index(title) for title in TITLES]
    assert places == sorted(places)
    assert "X import torch           OSError: libtorch.so. PyTorch is damaged" in said
    assert said.endswith("Broken: import torch. The lines with X above say what helps.\n")


def test_nothing_but_the_standard_library_is_imported(torchless: None) -> None:
    code = """
import sys
from robustrun.command_line import doctor, main
print(*{name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = set(found.stdout.split())
    assert names & {"torch", "hydra", "omegaconf", "rich", "yaml", "numpy"} == set()
    assert "robustrun" in names


def test_a_part_that_fails_hides_no_other(
    torchless: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> Section:
        raise ZeroDivisionError("no cores")

    monkeypatch.setattr("robustrun.command_line.diagnosis.machine.section", fails)
    assert run_command_line(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert list(report["sections"]) == TITLES
    (row,) = report["sections"]["Machine"]
    assert Finding(**row).text == "this part of the doctor failed: ZeroDivisionError: no cores"


def test_other_words_are_refused_and_help_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["doctor", "--jsn"]) == 2
    assert "takes --json and nothing else, not '--jsn'" in capsys.readouterr().err
    assert run_command_line(["doctor", "--help"]) == 0
    assert "usage: robustrun doctor" in capsys.readouterr().out
