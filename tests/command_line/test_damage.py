"""A required package that cannot be imported is one sentence; other errors are none of this."""

import sys
from pathlib import Path

import pytest

from robustrun.command_line import damage
from robustrun.command_line.main import run_command_line


def test_a_missing_package_is_named_and_the_doctor_too() -> None:
    error = ModuleNotFoundError("No module named 'rich'", name="rich")
    assert damage.in_words(error) == (
        "rich cannot be imported: No module named 'rich'. robustrun doctor says what is wrong here."
    )
    own = ModuleNotFoundError("No module named 'mine'", name="mine")
    assert damage.in_words(own) is None


def test_a_package_that_fails_while_it_is_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "msgspec.py").write_text("raise OSError('libc.so.7: not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "msgspec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("robustrun.command_line.main._command", lambda words: __import__("msgspec"))
    assert run_command_line(["list"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("robustrun: msgspec cannot be imported: libc.so.7: not found. robustrun")


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("loss"), KeyboardInterrupt()])
def test_other_errors_are_left_to_others(error: BaseException) -> None:
    assert damage.in_words(error) is None
