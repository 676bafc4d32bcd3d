"""Files from elsewhere: downloaded once, checked before they get their name, or put by hand.

Nothing is fetched where ROBUSTRUN_OFFLINE (or HF_HUB_OFFLINE) is 1: what is missing is said.
"""

import errno
import hashlib
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from robustrun.errors import DataError, RunFailure
from robustrun.storage import transfer
from robustrun.storage.files import PART, replace
from robustrun.storage.offline import keep_hub_offline, offline
from robustrun.storage.transfer import RemoteFile, WrongAnswer
from robustrun.storage.weights import Weights, read

log = logging.getLogger(__name__)
FULL = (errno.ENOSPC, errno.EDQUOT)
HASH = re.compile(r"-([a-f0-9]{8,})\.pth$")  # the beginning of the SHA-256, in PyTorch's names


def fetch(file: RemoteFile, target: Path, key: str, instead: str) -> Path:
    """The file at `target`, downloaded unless it is there; of several processes, one does so.

    `key` names the setting that asks for it, `instead` says what else can be done; both stand in
    the DataError of a download that fails, beside the place for a file that is put there by hand.
    RunFailure if the disk is full. An interrupted download is continued (`NAME.part`).
    """
    if target.exists():
        return target
    if variable := offline():
        raise missing(file, target, key, instead, f"{variable} forbids downloads")
    try:
        with alone(target):
            if not target.exists():
                _download(file, target)
    except transfer.FAILURES as error:
        if isinstance(error, OSError) and error.errno in FULL:
            full = f"the disk of {target.parent} is full: {error.strerror}"
            raise RunFailure(f"{key}: {file.url} was not fetched, {full}.") from error
        raise missing(file, target, key, instead, transfer.reason_of(error)) from error
    return target


def missing(file: RemoteFile, target: Path, key: str, instead: str, reason: str) -> DataError:
    """What is said of a file that is not there: why it was not fetched, and where it belongs."""
    return DataError(
        f"{key}: {target.name} could not be fetched ({reason}). Fetch {file.url}{file.about} where "
        f"there is a network and put it at {target}, or {instead}."
    )


def require_right(file: RemoteFile, path: Path, key: str) -> None:
    """DataError unless the file at `path`, which somebody may have put there, has the size and
    checksum that are known of it."""
    if wrong := difference(file, path):
        raise DataError(
            f"{key}: {path} is not the file that it should be: {wrong}. Remove it, and it is "
            f"fetched again, or put {file.url}{file.about} there."
        )


def difference(file: RemoteFile, path: Path) -> str | None:
    """How the file at `path` differs from what is known of it; None if it does not."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes, not {file.size:,}"
    if file.checksum is None:
        return None
    kind, _, digest = file.checksum.partition(":")
    with path.open("rb") as opened:
        hashed = hashlib.file_digest(opened, lambda: hashlib.new(kind, usedforsecurity=False))
    if hashed.hexdigest().startswith(digest):
        return None
    name = {"md5": "MD5 sum", "sha256": "SHA-256"}[kind]
    return f"its {name} is {hashed.hexdigest()}, not {digest}"


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """In this context no other process makes `target`; one that does is waited for. OSError where
    its folder cannot be written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    place = target.with_name(f".{target.name}.lock")
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process, which fetches %s", target)
        lock.acquire()
    try:
        yield
        with suppress(OSError):  # whoever waits for it will find what it waits for
            place.unlink()
    finally:
        lock.release()


def _download(file: RemoteFile, target: Path) -> None:
    """Fetch the file beside its place, and give it its name once it is right. If it is not, and its
    beginning is of an earlier time, all of it is fetched again."""
    part = target.with_name(target.name + PART)
    log.info("downloading %s to %s", file.url, target)
    if earlier := part.exists():
        log.info("%.1f MB of it are there from before", part.stat().st_size / 1e6)
    transfer.receive(file, part)
    if earlier and difference(file, part):
        _discard(part)
        transfer.receive(file, part)
    if wrong := difference(file, part):
        _discard(part)
        raise WrongAnswer(f"what came is another file: {wrong}")
    transfer.tag_of(part).unlink(missing_ok=True)
    replace(part, target)


def _discard(part: Path) -> None:
    part.unlink()
    transfer.tag_of(part).unlink(missing_ok=True)


@contextmanager
def stalls_end() -> Iterator[None]:
    """In this context a library's own download that stands still is an error, as it sets no
    timeout; Hugging Face's libraries fetch nothing where downloads are forbidden."""
    keep_hub_offline()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(transfer.STALL)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def fetching(url: str, key: str, instead: str) -> Iterator[None]:
    """In this context torch.hub's folder has the file at `url`, so that libraries which look for it
    there fetch nothing; what they cannot read is a DataError. `key`, `instead`: as of `fetch`."""
    place = fetch_to_hub(url, key, instead)
    try:
        yield
    except (OSError, EOFError, RuntimeError) as error:
        raise DataError(
            f"{key}: {place} cannot be read ({error}). Remove it, and it is fetched again from "
            f"{url}, or {instead}."
        ) from error


def published_weights(url: str, key: str, instead: str) -> Weights:
    """The state dict at `url`, kept in torch.hub's folder; DataError as of `fetch`, and for a file
    that is no weights."""
    return read(str(fetch_to_hub(url, key, instead)), key)


def fetch_to_hub(url: str, key: str, instead: str) -> Path:
    """The file at `url` in torch.hub's folder; a hash in its name, as PyTorch writes it, is the
    beginning of its SHA-256."""
    named = HASH.search(url)
    file = RemoteFile(url, named and f"sha256:{named[1]}")
    return fetch(file, hub_file(url), key, instead)


def hub_file(url: str) -> Path:
    """Where torch.hub keeps the file at `url`."""
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(url)
