"""A run says where it writes before anything else."""

from pathlib import Path

import pytest

from robustrun.command_line.main import run_command_line
from tests.short_run import SHORT

FIRST = "everything is written to "


def said(text: str) -> list[str]:
    """The lines of a log without their times."""
    return [line.partition(" INFO ")[2] for line in text.splitlines()]


def test_a_run_and_an_evaluation_say_their_folder_first_on_the_screen_and_in_their_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "my run"
    assert run_command_line([*SHORT, "hydra.run.dir='my run'"]) == 0
    assert run_command_line(["evaluate", "my run", "attack.epsilon=0.05"]) == 0
    (evaluation,) = tmp_path.glob("outputs/*/*")
    lines = said(capfd.readouterr().err)
    assert [line for line in lines if line.startswith(FIRST)] == [
        f"{FIRST}{run}",
        f"{FIRST}{evaluation}",
    ]
    for folder in (run, evaluation):
        assert said((folder / "run.log").read_text())[0] == f"{FIRST}{folder}"


def test_a_sweep_says_its_folder_once_and_its_runs_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["-m", *SHORT, "seed=0,1", "hydra.sweep.dir=sweep"]) == 0
    text = capfd.readouterr().err
    assert text.splitlines()[0] == (
        f"robustrun: the runs of this sweep are written to {tmp_path / 'sweep'}"
    )
    assert text.count(str(tmp_path / "sweep")) == 1
    assert FIRST not in text
