"""Files are written whole or not at all."""

import os
from pathlib import Path

import pytest

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
