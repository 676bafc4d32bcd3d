"""The folder of a sweep tells what became of its runs."""

from pathlib import Path

from robustrun.command_line import sweep_folder
from robustrun.command_line.session import ExpectedRun, Session
from robustrun.run_folder.folder import locked
from tests.command_line.test_sweep import a_run


def test_runs_are_listed_by_their_numbers_and_not_by_their_letters(tmp_path: Path) -> None:
    for name in ("10", "2", "3-2", "3"):
        a_run(tmp_path / name, "seed=0", status="completed")
    assert [run.folder.name for run in sweep_folder.runs_in(tmp_path)] == [
        "2",
        "3",
        "3-2",
        "10",
    ]


def test_what_lies_in_a_runs_own_folder_is_no_run_of_the_sweep(tmp_path: Path) -> None:
    for name in ("0", "1"):
        a_run(tmp_path / "deep" / name, "seed=0", status="completed")
        a_run(tmp_path / "deep" / name / "copy", "seed=0", status="completed")
    found = [
        folder.relative_to(tmp_path).as_posix() for folder in sweep_folder.run_folders(tmp_path)
    ]
    assert found == ["deep/0", "deep/1"]


def test_a_run_without_a_result_is_running_or_was_killed(tmp_path: Path) -> None:
    a_run(tmp_path / "0", "seed=0")
    with locked(tmp_path / "0"):
        assert [run.status for run in sweep_folder.runs_in(tmp_path)] == ["running"]
    assert [run.status for run in sweep_folder.runs_in(tmp_path)] == ["killed"]


def test_a_run_is_absent_if_no_folder_has_its_words(tmp_path: Path) -> None:
    a_run(tmp_path / "0", "seed=0", status="failed")
    a_run(tmp_path / "1", "seed=5", status="completed")  # another run
    expected = [ExpectedRun(n, (f"seed={n}", "resume=auto"), tmp_path / str(n)) for n in range(3)]
    runs = sweep_folder.runs_in(tmp_path)

    def absent(**more: bool) -> list[int]:
        session = Session(expected=expected, **more)
        return [run.number for run in sweep_folder.absent(session, runs)]

    assert absent() == [1, 2]
    assert absent(resumes=True) == [2]  # words of an older version may be others
