"""Limits of a container, read from files as Linux writes them."""

from pathlib import Path

import pytest

from robustrun.compute import control_groups
from robustrun.compute.control_groups import cpu_quota, group_files


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree of control groups; the process is in box/job of either version."""
    (tmp_path / "own").write_text("3:memory:/\n2:cpu,cpuacct:/box/job\n0::/box/job\n")
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "own")
    monkeypatch.setattr(control_groups, "TOP", tmp_path / "groups")
    return tmp_path / "groups"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def test_the_smallest_quota_of_the_groups_around_a_process_counts(top: Path) -> None:
    assert cpu_quota() is None
    write(top / "box" / "job" / "cpu.max", "max 100000")
    assert cpu_quota() is None
    write(top / "cpu.max", "400000 100000")
    assert cpu_quota() == 4.0
    write(top / "box" / "cpu.max", "150000 100000")
    assert cpu_quota() == 1.5
    assert group_files("cpu.max") == ["max 100000", "150000 100000", "400000 100000"]


def test_version_one_keeps_quota_and_period_in_files_of_their_own(top: Path) -> None:
    write(top / "cpu" / "cpu.cfs_quota_us", "-1")
    write(top / "cpu" / "cpu.cfs_period_us", "100000")
    assert cpu_quota() is None
    write(top / "cpu" / "box" / "cpu.cfs_quota_us", "50000")
    write(top / "cpu" / "box" / "cpu.cfs_period_us", "100000")
    assert cpu_quota() == 0.5


def test_where_there_are_no_control_groups_nothing_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "none")
    monkeypatch.setattr(control_groups, "TOP", tmp_path / "none")
    assert cpu_quota() is None
