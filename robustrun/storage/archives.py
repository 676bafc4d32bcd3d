"""Archives of data sets: unpacked whole or not at all, and never outside their folder."""

import errno
import logging
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from robustrun import console
from robustrun.errors import DataError, RunFailure
from robustrun.storage.downloads import FULL, alone, fetch, missing, require_right
from robustrun.storage.transfer import RemoteFile
from robustrun.storage.zip_faults import ZIP_FAULTS

log = logging.getLogger(__name__)
DAMAGED = (tarfile.TarError, *ZIP_FAULTS)
FORBIDDEN = set("\\:\0")  # in the name of a member: they leave the folder on some system


class _Member(NamedTuple):
    """A file in an archive."""

    name: str
    content: IO[bytes]


def unpacked(file: RemoteFile, folder: Path, key: str, download: bool) -> Path:
    """`folder`, which the archive `file` holds: if it is not there, the archive beside it is
    unpacked, and before that fetched (`download`). DataError, with the place for an archive that is
    put there by hand; `key` names the setting whose folder holds both."""
    if folder.is_dir():
        return folder
    place = folder.parent / os.path.basename(file.url)
    instead = f"set {key} to where {folder.name}/ is already"
    if not place.exists() and not download:  # before anything is written
        switch = f"{key.rpartition('.')[0]}.download"
        instead = f"{instead}, or let it be fetched: {switch}=true"
        raise missing(file, place, key, instead, f"{switch} is false")
    try:
        with alone(folder):
            if not folder.is_dir():  # another process may have unpacked it meanwhile
                unpack(_checked(file, place, key, instead), folder.parent, key)
    except OSError as error:
        raise DataError(f"{key}: {folder.parent} cannot be written to ({error}).") from error
    if not folder.is_dir():
        raise DataError(f"{key}: {file.url} holds no {folder.name}/.")
    return folder


def _checked(file: RemoteFile, place: Path, key: str, instead: str) -> Path:
    """The archive at `place`, fetched unless somebody put it there: then it is checked."""
    if place.exists():
        require_right(file, place, key)
        return place
    return fetch(file, place, key, instead)


def unpack(archive: Path, folder: Path, key: str) -> None:
    """Unpack a tar (also compressed) or zip archive into `folder`: what lies at its top appears
    there when all of it is on the disk, in place of nothing. DataError for a damaged archive, for a
    member outside of the folder, and for a link."""
    aside = folder / f".{archive.name}.{os.getpid()}.unpacking"
    log.info("unpacking %s", archive)
    try:
        _write_all(archive, aside)
        for entry in sorted(aside.iterdir()):
            if (folder / entry.name).exists():
                log.info("%s is there already and is kept", folder / entry.name)
            else:
                os.replace(entry, folder / entry.name)
    except DAMAGED as error:
        raise DataError(
            f"{key}: {archive} cannot be unpacked ({error}). Remove it, and it is fetched again, "
            f"or put a whole one there."
        ) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        full = f"the disk of {folder} is full: {error.strerror}"
        raise RunFailure(f"{key}: {archive} was not unpacked, {full}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_all(archive: Path, aside: Path) -> None:
    aside.mkdir()
    size = archive.stat().st_size
    if size > shutil.disk_usage(aside).free:
        raise OSError(errno.ENOSPC, f"more than {size / 1e6:,.0f} MB are needed")
    title = f"unpacking {archive.name}"
    with archive.open("rb") as packed, console.bar(title, size, in_bytes=True) as bar:
        for member in _members(packed):
            place = aside / _safe(member.name)
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as output:
                shutil.copyfileobj(member.content, output)
            bar.advance(max(packed.tell() - bar.done, 0))


def _members(packed: IO[bytes]) -> Iterator[_Member]:
    """The files of an archive, in order."""
    if zipfile.is_zipfile(packed):
        yield from _zip_members(packed)
        return
    packed.seek(0)
    with tarfile.open(fileobj=packed, mode="r|*") as archive:
        for member in archive:
            if member.isdir():
                continue
            content = archive.extractfile(member) if member.isreg() else None
            if content is None:
                raise tarfile.TarError(f"{member.name!r} in it is a link or a device")
            yield _Member(member.name, content)


def _zip_members(packed: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(packed) as archive:
        for member in archive.infolist():
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise zipfile.BadZipFile(f"{member.filename!r} in it is a link or a device")
            if not member.is_dir():
                with archive.open(member.filename) as content:
                    yield _Member(member.filename, content)


def _safe(name: str) -> PurePosixPath:
    """The path below the folder; an error if it leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or FORBIDDEN & set(name) or not path.parts:
        raise tarfile.TarError(f"{name!r} in it would lie outside of the folder")
    return path
