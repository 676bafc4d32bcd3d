"""The lock of a run's folder: one process at a time; and what is no finished run."""

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from robustrun.errors import ConfigError, DataError
from robustrun.run_folder.folder import in_use, locked, require_finished

HOLDS = """
import sys, time
from pathlib import Path
from robustrun.run_folder.folder import in_use, locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_that_another_process_holds_is_refused_at_once_until_that_one_is_killed(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="is in use: another process works on this run"):
            locked(tmp_path).__enter__()
        holder.kill()
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_a_folder_is_free_again_however_the_work_in_it_ended(
    error: type[BaseException], tmp_path: Path
) -> None:
    def work() -> None:
        with locked(tmp_path):
            with pytest.raises(ConfigError):
                locked(tmp_path).__enter__()  # this process holds it already
            raise error

    with pytest.raises(error):
        work()
    with locked(tmp_path):
        pass


def test_a_lock_that_cannot_be_written_is_not_said_to_be_held(tmp_path: Path) -> None:
    (tmp_path / "checkpoint" / "lock").mkdir(parents=True)
    with pytest.raises(OSError, match=r"checkpoint/lock"):
        locked(tmp_path).__enter__()


def test_a_folder_whose_lock_cannot_be_tried_is_of_no_process_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not in_use(tmp_path)
    with locked(tmp_path):
        assert in_use(tmp_path)
    assert not in_use(tmp_path)

    def forbidden(*given: object, **more: object) -> None:
        raise PermissionError

    monkeypatch.setattr(FileLock, "acquire", forbidden)
    assert not in_use(tmp_path)


def test_of_a_run_that_has_begun_the_command_that_continues_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no finished run: it has no config\.yaml\.$"):
        require_finished(tmp_path)
    (tmp_path / "results.json").touch()
    named = rf"is a file that holds no run .*name the folder of a finished run, {tmp_path}\.$"
    with pytest.raises(DataError, match=named):
        require_finished(tmp_path / "results.json")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "origin.json").touch()
    named = rf"it has no config\.yaml\. If it was interrupted: robustrun resume {tmp_path}$"
    with pytest.raises(DataError, match=named):
        require_finished(tmp_path)
