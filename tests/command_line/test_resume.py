"""`robustrun resume` of a sweep, with the launcher that it had or another."""

from pathlib import Path

import pytest

from robustrun.command_line.main import run_command_line
from robustrun.command_line.resume import _launched_by

TYPED = ["seed=0,1", "hydra/launcher=slurm", "hydra.launcher.partition=gpu"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], TYPED),
        (["hydra/launcher=basic"], ["seed=0,1", "hydra/launcher=basic"]),
        (
            ["hydra.launcher.partition=cpu"],
            ["seed=0,1", "hydra/launcher=slurm", "hydra.launcher.partition=cpu"],
        ),
        (["++hydra.launcher.comment=x"], [*TYPED, "++hydra.launcher.comment=x"]),
    ],
)
def test_a_sweep_is_resumed_by_the_launcher_that_is_named(
    given: list[str], words: list[str]
) -> None:
    assert _launched_by(TYPED, given) == words


@pytest.mark.parametrize("word", ["seed=3", "hydra/launcher=basic", "hydra.launcher.n_jobs=2"])
def test_a_run_takes_no_other_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert run_command_line(["resume", str(tmp_path), word]) == 2
    assert "takes one folder and no other word" in capsys.readouterr().err


def test_a_sweep_takes_words_of_its_launcher_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.json").write_text("{}")
    assert run_command_line(["resume", str(tmp_path), "hydra/launcher=basic", "seed=3"]) == 2
    assert "takes one folder and no other word" in capsys.readouterr().err
