"""What processes tell each other, where there is one; several are in tests/engines."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from robustrun.compute import processes
from robustrun.compute.place import LOOPBACK, Place
from robustrun.errors import DataError, RunFailure

ALONE = Place(0, 1, 0, True, LOOPBACK, 0, None)


def test_one_process_is_a_group_of_one_that_sends_nothing() -> None:
    values, asked = torch.ones(2), object()
    assert processes.is_first()
    assert (processes.rank(), processes.count(), processes.on_these_cores()) == (0, 1, 1)
    assert processes.exchange(asked) == [asked]
    assert processes.told(asked) is asked
    assert processes.agreed(2, True) == [2.0, 1.0]
    assert processes.combined(lambda: asked) == [asked]
    assert processes.summed(values) is values
    assert processes.gathered(values) == [values]
    processes.sum_flat([values])
    assert values.tolist() == [1.0, 1.0]
    assert processes.why_broken() is None


def test_what_fails_in_one_process_fails_as_it_is() -> None:
    def fail() -> None:
        raise DataError("no such images")

    with pytest.raises(DataError, match="no such images"):
        processes.combined(fail)


def test_a_process_knows_whether_it_was_started_as_one_of_a_group() -> None:
    assert not processes.joined()
    with processes.together(ALONE):
        assert processes.joined()
        assert processes.count() == 1
    assert not processes.joined()


def test_one_that_came_and_was_lost_before_it_connected_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "JOINING", timedelta(seconds=1))
    here = Place(0, 2, 0, True, LOOPBACK, 0, str(tmp_path / "meeting"))
    monkeypatch.setattr(processes, "_meetings", 0)
    other = dist.PrefixStore("robustrun/0/1", dist.FileStore(here.store, 2))  # type: ignore[attr-defined]
    other.set("here/1", "")
    with pytest.raises(RunFailure, match="lost each other"), processes.together(here):
        raise AssertionError("there is nobody else")
    assert not processes.joined()
    assert processes.count() == 1


def test_a_process_that_is_no_more_is_seen() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    assert processes._lives(os.getpid())
    for _ in range(200):  # until it waits to be read, as a killed process does
        if not processes._lives(child.pid):
            break
        subprocess.run(["sleep", "0.05"], check=True)
    assert not processes._lives(child.pid)
    child.wait()
    assert not processes._lives(child.pid)
