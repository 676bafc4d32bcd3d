"""SHA-256 of the content of files, remembered in a cache folder while they stay as they are."""

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from robustrun.errors import DataError, shown
from robustrun.storage.cache import cache_folder, keep

log = logging.getLogger(__name__)
READERS = 16  # threads: a disk or a network answers many at a time
FILES_AT_ONCE = 256  # that a thread takes
LOG_EVERY = 200  # of these
SETTLED = 2 * 10**9  # ns: a file as young as this may change again without its times showing it
MOST_RECORDS = 5_000_000  # of one cache file, 240 MB
MAGIC = b"robustrun contents 1\n"
KEY, SHA = 16, 32  # bytes

Digests = dict[bytes, bytes]  # a file's key -> SHA-256 of its content


class _Read(NamedTuple):
    """One file: its key (None: too young to be remembered), and the SHA-256 of its content."""

    key: bytes | None
    sha256: bytes


def content_digests(root: Path, names: list[bytes]) -> list[bytes]:
    """The SHA-256 of each file below `root`, in order; DataError names one that cannot be read.

    A file is read again only if its name, size, inode or times (mtime, ctime) have changed since.
    What was read is remembered also if an error or a signal ends it half-way.
    """
    place = cache_file(root)
    known = _recalled(place)
    digests, fresh = [], Digests()
    try:
        for read in _all(os.fsencode(root), names, known):
            digests.append(read.sha256)
            if read.key is not None and read.key not in known:
                fresh[read.key] = read.sha256
    finally:
        if fresh:
            _remember(place, known, fresh)
    return digests


def _all(root: bytes, names: list[bytes], known: Digests) -> Iterator[_Read]:
    parts = [names[at : at + FILES_AT_ONCE] for at in range(0, len(names), FILES_AT_ONCE)]
    with ThreadPoolExecutor(READERS, "read") as pool:
        reads = pool.map(lambda part: [_one(root, name, known) for name in part], parts)
        for number, part in enumerate(reads, start=1):
            yield from part
            if number % LOG_EVERY == 0:
                log.info("fingerprints: %d of %d files", number * FILES_AT_ONCE, len(names))


def _one(root: bytes, name: bytes, known: Digests) -> _Read:
    path = os.path.join(root, name)
    try:
        key, _ = _key(path)
        if key in known:
            return _Read(key, known[key])
        sha256 = content_sha256(path)
        after, changed = _key(path)
    except OSError as error:
        raise DataError(f"{shown(os.fsdecode(path))} cannot be read ({error.strerror}).") from error
    settled = after == key and time.time_ns() - changed > SETTLED
    return _Read(key if settled else None, sha256)


def _key(path: bytes) -> tuple[bytes, int]:
    """(what changes whenever the file does, as far as its folder shows it; when it last did, ns)"""
    stat = os.stat(path)
    times = stat.st_mtime_ns, stat.st_ctime_ns
    about = repr((path, stat.st_dev, stat.st_ino, stat.st_size, times))
    return hashlib.blake2b(about.encode(), digest_size=KEY).digest(), max(times)


def content_sha256(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def cache_file(root: Path) -> Path | None:
    """Where the digests of files below `root` are remembered; None where there is no home."""
    folder = cache_folder("contents")
    return folder and folder / hashlib.sha256(os.fsencode(root)).hexdigest()[:32]


def _recalled(place: Path | None) -> Digests:
    """What the cache file holds; nothing if it is missing or damaged."""
    try:
        stored = place.read_bytes() if place is not None else b""
    except OSError:
        return {}
    checksum, records = stored[len(MAGIC) : len(MAGIC) + SHA], stored[len(MAGIC) + SHA :]
    if not stored.startswith(MAGIC) or hashlib.sha256(records).digest() != checksum:
        return {}
    at = range(0, len(records), KEY + SHA)
    return {records[i : i + KEY]: records[i + KEY : i + KEY + SHA] for i in at}


def _remember(place: Path | None, known: Digests, fresh: Digests) -> None:
    """Write the cache file with what is known and what is new."""
    if place is None:
        return
    kept = known | fresh if len(known) + len(fresh) <= MOST_RECORDS else fresh
    records = b"".join(key + sha256 for key, sha256 in kept.items())
    keep(place, [MAGIC, hashlib.sha256(records).digest(), records], "fingerprints")
