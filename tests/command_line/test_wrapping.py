"""Help and explanations on narrow terminals."""

import sys

import pytest

from robustrun.command_line.main import run_command_line
from robustrun.command_line.wrapping import fitted

LINE = "    robustrun list        what can be chosen, with one line each"


@pytest.fixture(params=[30, 50])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """stdout as a terminal of so many columns."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    return int(request.param)


def test_long_lines_are_continued_further_in_and_short_ones_stay(width: int) -> None:
    lines = fitted(f"short  one\n{LINE}").split("\n")
    assert lines[0] == "short  one"
    assert lines[1].startswith("    robustrun list what can")
    assert all(line.startswith("        ") for line in lines[2:])
    assert max(map(len, lines)) <= width
    assert " ".join(lines[1:]).split() == LINE.split()


def test_a_pipe_gets_lines_as_they_are() -> None:
    assert fitted(LINE * 5) == LINE * 5


@pytest.mark.parametrize("words", ["--help", "evaluate --help", "doctor --help", "list --help"])
def test_help_fits_on_a_narrow_terminal(
    words: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run_command_line(words.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    too_wide = [line for line in lines if len(line) > width]
    assert all(len(line.split()) == 1 for line in too_wide)  # one word that is longer
