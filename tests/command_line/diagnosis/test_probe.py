"""The process that imports PyTorch for the doctor: also one that crashes, hangs or says nothing."""

from pathlib import Path

import pytest

from robustrun.command_line.diagnosis import probe
from robustrun.command_line.diagnosis.probe import Answer, Probe


def answer(code: str, monkeypatch: pytest.MonkeyPatch, patience: float = 60.0) -> Answer:
    """What the doctor learns of a process that does this instead."""
    monkeypatch.setattr(probe, "MAIN", code.replace("{", "{{").replace("}", "}}") + "  # {}")
    return Probe().answer(lambda seconds: None, patience)


def test_the_last_marked_line_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""print('noise'); print({probe.MARK!r} + '{{"version": "2"}}')"""
    assert answer(code, monkeypatch) == {"version": "2"}


def test_a_process_that_crashes_is_told_with_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os; os.kill(os.getpid(), 4)"
    assert answer(code, monkeypatch) == {"error": "its process was ended by signal 4"}


def test_a_process_that_fails_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said = answer("raise OSError('no library')", monkeypatch)
    assert said == {"error": "it ended with 1: OSError: no library"}


def test_a_process_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    said = answer("import time; time.sleep(1000)", monkeypatch, patience=0.2)
    assert "was given up" in said["error"]


def test_it_is_told_while_the_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MAIN", "import time; time.sleep(1000)  # {}")
    monkeypatch.setattr(probe, "FIRST_PAUSE", 0.01)
    asked = Probe()
    times: list[float] = []

    def waiting(seconds: float) -> None:
        times.append(seconds)
        asked.process.kill()

    assert "signal 9" in asked.answer(waiting)["error"]
    assert times


def test_a_package_that_cannot_be_imported_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half.py").write_text("raise OSError('libhalf.so: not found')")
    monkeypatch.syspath_prepend(tmp_path)
    assert probe._fault("half") == ("half", "OSError: libhalf.so: not found")
    assert probe._fault("json") is None
    assert probe._fault("nowhere_at_all") is None  # its version is told to be missing
