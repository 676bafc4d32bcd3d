"""What is said of an error, and with which exit code."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from robustrun.command_line import failures
from robustrun.compute.interrupts import Terminated


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [(KeyboardInterrupt, 130, "interrupted"), (Terminated, 143, "terminated")],
)
@pytest.mark.parametrize(
    ("system", "folder", "typed"),
    [
        ("posix", "/tmp/run", "/tmp/run"),
        ("posix", "/tmp/two words", "'/tmp/two words'"),
        ("posix", "/tmp/it's", "'/tmp/it'\"'\"'s'"),
        ("nt", "/tmp/two words", '"/tmp/two words"'),  # as cmd and PowerShell take it
        ("nt", "/tmp/run", "/tmp/run"),
    ],
)
def test_the_last_words_after_a_signal_are_the_command_that_continues(
    error: type[BaseException],
    code: int,
    word: str,
    system: str,
    folder: str,
    typed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped = error()
    monkeypatch.setattr(failures, "os", SimpleNamespace(name=system))
    failures.note_how_to_continue(stopped, Path(folder))
    assert failures.explain_failure(stopped, [], full_error=False) == code
    expected = f"robustrun: {word}. To continue: robustrun resume {typed}\n"
    assert capsys.readouterr().err == expected


def test_where_nothing_had_begun_there_is_nothing_to_continue(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert failures.explain_failure(KeyboardInterrupt(), [], full_error=False) == 130
    assert capsys.readouterr().err == "robustrun: interrupted\n"


@pytest.mark.parametrize(
    ("error", "advised"),
    [
        (OSError(errno.EROFS, "Read-only file system", "outputs"), True),
        (PermissionError(errno.EACCES, "Permission denied", "nowhere/outputs"), True),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "data.npz"), False),
        (FileExistsError(errno.EEXIST, "File exists", "report.html"), False),
    ],
)
def test_a_path_that_cannot_be_used_is_told_and_where_nothing_can_be_written_what_to_do(
    error: OSError, advised: bool
) -> None:
    said = failures.message_of(error, [])
    assert said.startswith(f"{error.filename}: {error.strerror}.")
    assert failures.exit_code_of(error) == 2
    assert "Errno" not in said
    assert ("hydra.run.dir=FOLDER" in said) == advised
