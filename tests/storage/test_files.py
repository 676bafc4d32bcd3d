"""Files are written whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from robustrun.command_line.main import run_command_line
from robustrun.storage import files


def refuse(monkeypatch: pytest.MonkeyPatch, times: int, system: str) -> None:
    """Let the system refuse to replace a file so many times, as Windows does while it is read."""
    left, replace = [times], os.replace

    def refused(source: Path, target: Path) -> None:
        if left[0]:
            left[0] -= 1
            raise PermissionError("a virus scanner reads it")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(files, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(files, "SYSTEM", system)


@pytest.mark.parametrize(
    ("times", "system", "written"),
    [(0, "posix", True), (1, "posix", False), (2, "nt", True), (3, "nt", False)],
)
def test_a_file_that_another_program_reads_is_replaced_as_soon_as_windows_allows_it(
    times: int, system: str, written: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"old")
    refuse(monkeypatch, times, system)
    if written:
        files.write_atomically(path, b"new")
    else:
        with pytest.raises(PermissionError):
            files.write_atomically(path, b"new")
    assert path.read_bytes() == (b"new" if written else b"old")
    assert list(tmp_path.iterdir()) == [path]  # nothing half is left


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    files.write_atomically(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_takes_no_file_is_named_and_not_the_file_beside_it(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_bytes(b"old")
    (folder / "in it").mkdir(parents=True)
    for write in (files.write_atomically, files.create_atomically):
        with pytest.raises(NotADirectoryError) as caught:
            write(file / "report.html", b"new")
        assert caught.value.filename == str(file / "report.html")
    with pytest.raises(OSError, match="directory") as refused:
        files.write_csv(folder, ["name"], [])
    assert (refused.value.filename, refused.value.filename2) == (str(folder), None)
    assert sorted(tmp_path.iterdir()) == [file, folder]  # nothing half is left


def test_json_has_no_numbers_that_json_lacks(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"loss": float("nan"), "list": [float("inf"), 1.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"loss": None, "list": [None, 1.5]}


@contextmanager
def masked(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077])
def test_a_new_file_may_be_read_by_whom_the_umask_lets(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with masked(umask):
        files.write_atomically(path, b"old")
        files.write_atomically(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_whatever_a_sweep_leaves_has_the_permissions_of_the_umask(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["training.epochs=1", "evaluation=none", "evaluation.examples=20", "device.threads=1"]
    with masked(umask):
        assert run_command_line(["-m", "seed=0,1", *words]) == 0
        assert run_command_line(["report", "outputs", "--csv", "table/t.csv"]) == 0
    made = list(tmp_path.rglob("*"))
    assert {"checkpoint", "t.csv", "summary.csv", "report.html", "run.log"} <= {
        p.name for p in made
    }
    for path in made:
        allowed = 0o777 if path.is_dir() else 0o666
        assert path.stat().st_mode & 0o777 == allowed & ~umask, path


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_created_once_whether_or_not_the_disk_has_links(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(source: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    if not links:
        monkeypatch.setattr(files.os, "link", refused)
    path = tmp_path / "origin.json"
    assert files.create_atomically(path, b"one")
    assert not files.create_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writes_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / "a.json", tmp_path / "deep" / "b.part", tmp_path / ".hidden"]
    left = [tmp_path / ".a.json.0123.part", tmp_path / "deep" / ".b.4567.part"]
    (tmp_path / "deep").mkdir()
    for path in kept + left:
        path.touch()
    files.clear_parts(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
