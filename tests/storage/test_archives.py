"""Archives: unpacked whole, beside what is there, and never outside of their folder."""

import io
import random
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from robustrun.errors import DataError, RunFailure
from robustrun.storage import archives
from robustrun.storage.archives import unpack, unpacked
from robustrun.storage.transfer import RemoteFile
from storage.zips import encrypt

FILES = {"set/a/1.txt": b"one", "set/b/2.txt": random.Random(0).randbytes(3000)}


def make_tar(path: Path, files: dict[str, bytes], mode: Any = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_all_files_of_an_archive_are_unpacked_and_nothing_else_is_left(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    make_zip(path, FILES) if kind == "zip" else make_tar(path, FILES, "w:gz"[: len(kind) + 1])
    (tmp_path / "into").mkdir()
    unpack(path, tmp_path / "into", "dataset.root")
    assert tree(tmp_path / "into") == FILES


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "set/../../outside", "C:\\outside"])
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_member_that_would_lie_outside_is_refused_and_nothing_is_kept(
    tmp_path: Path, make: Any, name: str
) -> None:
    path = make(tmp_path / "a", {"set/1": b"1", name: b"x"})
    (tmp_path / "into").mkdir()
    with pytest.raises(DataError, match=r"dataset\.root: .*a cannot be unpacked .*outside of the"):
        unpack(path, tmp_path / "into", "dataset.root")
    assert tree(tmp_path / "into") == {}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "into"]


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("set/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    zipped = zipfile.ZipInfo("set/link")
    zipped.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipped, "/etc")
    for name in ("a.tar", "a.zip"):
        with pytest.raises(DataError, match="'set/link' in it is a link"):
            unpack(tmp_path / name, tmp_path / "into", "dataset.root")
    assert list((tmp_path / "into").iterdir()) == []


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_an_archive_that_was_cut_short_is_told_and_leaves_nothing(
    tmp_path: Path, make: Any
) -> None:
    path = make(tmp_path / "a", FILES)
    path.write_bytes(path.read_bytes()[:1500])
    (tmp_path / "into").mkdir()
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(path, tmp_path / "into", "dataset.root")
    assert list((tmp_path / "into").iterdir()) == []


def test_an_encrypted_archive_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    path = encrypt(make_zip(tmp_path / "a.zip", FILES))
    (tmp_path / "into").mkdir()
    with pytest.raises(
        DataError, match=r"a\.zip cannot be unpacked \(File 'set/a/1.txt' is encryp"
    ):
        unpack(path, tmp_path / "into", "dataset.root")
    assert list((tmp_path / "into").iterdir()) == []


def test_what_is_there_already_is_kept(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", {"fog/1": b"new", "snow/1": b"new"})
    (tmp_path / "into" / "fog").mkdir(parents=True)
    (tmp_path / "into" / "fog" / "1").write_bytes(b"old")
    unpack(tmp_path / "a.tar", tmp_path / "into", "dataset.root")
    assert tree(tmp_path / "into") == {"fog/1": b"old", "snow/1": b"new"}


def test_a_full_disk_is_a_failure_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tar(tmp_path / "a.tar", FILES)
    usage = shutil.disk_usage(tmp_path)._replace(free=1)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RunFailure, match=r"was not unpacked, the disk of .* is full"):
        unpack(tmp_path / "a.tar", tmp_path, "dataset.root")


def test_an_archive_that_was_put_beside_its_folder_is_unpacked_once(tmp_path: Path) -> None:
    make_tar(tmp_path / "set.tgz", FILES)
    file = RemoteFile("https://example.invalid/path/set.tgz")
    assert unpacked(file, tmp_path / "set", "dataset.root", download=False) == tmp_path / "set"
    (tmp_path / "set.tgz").unlink()
    unpacked(file, tmp_path / "set", "dataset.root", download=False)
    assert tree(tmp_path) == FILES


def test_an_archive_that_is_missing_or_wrong_is_told_with_its_place(tmp_path: Path) -> None:
    file = RemoteFile("https://example.invalid/set.tgz", "md5:abc")
    with pytest.raises(DataError) as caught:
        unpacked(file, tmp_path / "set", "dataset.root", download=False)
    for part in (
        f"dataset.root: set.tgz could not be fetched (dataset.download is false). Fetch {file.url}",
        f"(MD5 sum abc) where there is a network and put it at {tmp_path / 'set.tgz'}",
        "or set dataset.root to where set/ is already",
    ):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []  # looking writes nothing
    make_tar(tmp_path / "set.tgz", FILES)
    with pytest.raises(DataError, match=r"its MD5 sum is .*, not abc"):
        unpacked(file, tmp_path / "set", "dataset.root", download=True)
    with pytest.raises(DataError, match=r"holds no other/"):
        unpacked(RemoteFile(file.url), tmp_path / "other", "dataset.root", download=True)
