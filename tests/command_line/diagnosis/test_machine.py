"""What a process may use of its machine, in containers too."""

import os
from pathlib import Path

import pytest

from robustrun.command_line.diagnosis import machine
from robustrun.command_line.diagnosis.machine import Cores
from robustrun.compute import control_groups

MEMORY = """MemTotal:       16000000 kB
MemFree:         1000000 kB
MemAvailable:    8000000 kB
SwapTotal:       2000000 kB
SwapFree:        1500000 kB
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Files of Linux, by their paths, in place of this machine's."""
    told = {"/proc/self/cgroup": "0::/box/job", "/proc/meminfo": MEMORY}
    monkeypatch.setattr(control_groups, "TOP", Path("/cgroups"))
    for module in (control_groups, machine):
        monkeypatch.setattr(module, "read", lambda file: told.get(file.as_posix(), ""))
    return told


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in machine.GIVEN:
        monkeypatch.delenv(name, raising=False)


def test_memory_is_no_more_than_the_group_has_left(files: dict[str, str]) -> None:
    assert machine.memory() == (16e6 * 1024, 8e6 * 1024)
    files["/cgroups/box/job/memory.max"] = "4000000000"
    files["/cgroups/box/job/memory.current"] = "1000000000"
    assert machine.memory() == (4e9, 3e9)
    assert machine.swapped() == 500_000 * 1024


def test_a_system_that_does_not_tell_its_memory_is_no_fault(files: dict[str, str]) -> None:
    files.clear()
    assert machine.memory() is None
    assert all(row.state != "broken" for row in machine.section().findings)


def test_a_variable_that_keeps_cores_from_a_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = Cores(machine=8, allowed=4, quota=None)
    assert (cores.given, cores.used) == (None, 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert cores.given is None
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert (cores.given, cores.used) == (("OMP_NUM_THREADS", 1), 1)


def test_cores_that_the_system_keeps_from_this_process_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    monkeypatch.setattr(machine, "cpu_quota", lambda: 1.5)
    rows = {row.name: row for row in machine.section().findings}
    assert rows["cores"].text == (
        "2 of the machine's 64, as the system allows this process; "
        "this container gets the time of 1.5"
    )
    assert rows["cores"].state == "remark"
