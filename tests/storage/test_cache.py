"""The user's cache folder: where it is, and that it may fail."""

import logging
from pathlib import Path

import pytest

from robustrun.storage.cache import cache_folder, keep


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTRUN_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("kind") == tmp_path / "own" / "kind"
    monkeypatch.delenv("ROBUSTRUN_CACHE")
    assert cache_folder("kind") == tmp_path / "xdg" / "robustrun" / "kind"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # the standard says: ignore it
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("kind") == tmp_path / "home" / ".cache" / "robustrun" / "kind"


def test_what_is_kept_is_whole_or_as_it_was_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def cut() -> object:
        yield b"new"
        raise OSError(28, "No space left on device")

    place = tmp_path / "folder" / "file"
    keep(place, [b"one", b"two"], "things")
    assert place.read_bytes() == b"onetwo"
    with caplog.at_level(logging.INFO):
        keep(place, cut(), "things")  # type: ignore[arg-type]
    assert f"things are not kept in {place.parent}: No space left on device" in caplog.text
    assert [path.name for path in place.parent.iterdir()] == ["file"]
    assert place.read_bytes() == b"onetwo"


def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: object = None) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("ROBUSTRUN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder("kind") is None
