"""What is said of several processes of which one failed; that they run is in tests/engines."""

import json
import signal
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from robustrun.compute import interrupts
from robustrun.compute.agent import _failure, run_processes
from robustrun.errors import RobustrunError, RunFailure

NO_FILE = "<N/A>"


def ended(rank: int, code: int, file: str = NO_FILE) -> ProcessFailure:
    return ProcessFailure(rank, 1000 + rank, code, file)


def left(folder: Path, text: str) -> str:
    """What a process leaves of its exception, as torch writes it."""
    message = {"message": f"RuntimeError: {text}", "extraInfo": {"timestamp": "1"}}
    (folder / "error.json").write_text(json.dumps({"message": message}))
    return str(folder / "error.json")


def test_a_killed_process_is_named_before_those_that_the_agent_ended() -> None:
    error = _failure({0: ended(0, -signal.SIGTERM), 1: ended(1, -signal.SIGKILL)}, 2)
    assert isinstance(error, RunFailure)
    assert "process 1 of 2 was ended by SIGKILL" in str(error)


@pytest.mark.parametrize(("code", "kind"), [(2, RobustrunError), (1, RunFailure)])
def test_a_process_that_failed_has_its_own_words(tmp_path: Path, code: int, kind: type) -> None:
    file = left(tmp_path, "no such images")
    error = _failure({0: ended(0, code, file), 1: ended(1, -signal.SIGTERM)}, 2)
    assert type(error) is kind
    assert str(error) == "no such images"


def test_a_process_that_leaves_no_word_is_told_by_its_exit_code() -> None:
    error = _failure({0: ended(0, -signal.SIGTERM), 1: ended(1, 7)}, 2)
    assert isinstance(error, RunFailure)
    assert str(error) == "process 1 of 2 ended with exit code 7"


@pytest.mark.parametrize(("code", "kind"), [(143, interrupts.Terminated), (130, KeyboardInterrupt)])
def test_processes_that_a_signal_stopped_are_no_failure(code: int, kind: type) -> None:
    assert isinstance(_failure({0: ended(0, -signal.SIGTERM), 1: ended(1, code)}, 2), kind)


def test_processes_know_their_places_and_signals_are_handled_as_before(tmp_path: Path) -> None:
    place = f"open('{tmp_path}/' + os.environ['RANK'], 'w').write(os.environ['WORLD_SIZE'])"
    before = signal.getsignal(signal.SIGTERM)
    run_processes(2, ["-c", f"import os; {place}"])
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["2", "2"]
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(RunFailure, match="ended with exit code 3"):
        run_processes(1, ["-c", "raise SystemExit(3)"])
