"""One file over HTTP into a part of it on the disk: what is missing is asked for, and asked for
again where a connection breaks (RFC 9110, https://www.rfc-editor.org/rfc/rfc9110, section 14).
"""

import errno
import logging
import re
import shutil
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Thread
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from robustrun import console
from robustrun.storage.files import PART

log = logging.getLogger(__name__)
PATIENCE = 10.0  # seconds that a server has to answer at all
STALL = 30.0  # seconds that a download may stand still
WAITS = (1.0, 3.0, 9.0)  # seconds before further tries; what comes in between starts them again
LONGEST_WAIT = 60.0  # seconds that a server may ask to wait
CHUNK = 1 << 20  # bytes
HTML = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b", re.I | re.S)
PAGES = ("text/html", "application/xhtml+xml")
AGENT = {"User-Agent": "robustrun", "Accept-Encoding": "identity"}
FAULTS = {
    401: "the server asks for a login",
    403: "the server refuses to give it",
    404: "the server has no such file (any more)",
    410: "the server has no such file any more",
    429: "the server is asked too often and wants us to wait",
}


class WrongAnswer(Exception):
    """What comes is not the file; trying again would bring the same."""


class TryLater(Exception):
    """The server has no time now; after `seconds`, if it said so, it may be asked again."""

    def __init__(self, reason: str, seconds: float | None) -> None:
        super().__init__(reason)
        self.seconds = seconds


class CutOff(OSError):
    """The connection ended before the file did."""


FAILURES = (WrongAnswer, TryLater, OSError, HTTPException)  # a URLError is an OSError


@dataclass(frozen=True)
class RemoteFile:
    """A file that a server has, and what is known of it."""

    url: str
    checksum: str | None = None  # md5:… or sha256:…, or the beginning of one, in hexadecimal
    size: int | None = None  # bytes

    @property
    def about(self) -> str:
        """What tells the right file from others, in brackets; empty if nothing is known."""
        kind, _, digest = (self.checksum or "").partition(":")
        named = {"md5": "MD5 sum ", "sha256": "SHA-256 "}.get(kind, "") + digest
        size = "" if self.size is None else f"{self.size / 1e6:,.1f} MB"
        known = ", ".join(part for part in (size, named) if part)
        return f" ({known})" if known else ""


def reason_of(error: Exception) -> str:
    """Why a transfer failed, in one line."""
    if isinstance(error, HTTPError):
        named = FAULTS.get(error.code, "the server has a fault" if error.code >= 500 else error.msg)
        return f"{named} (HTTP {error.code})"
    cause = getattr(error, "reason", error)  # a URLError has it inside
    text = getattr(cause, "strerror", None) or str(cause)
    return " ".join(text.split()) or type(error).__name__


def receive(file: RemoteFile, part: Path) -> None:
    """Receive the file into `part`, which keeps what came where it fails with one of FAILURES."""
    waits, began = list(WAITS), False
    while True:
        before = length(part)
        try:
            return _receive_once(file, part)
        except (TryLater, OSError, HTTPException) as error:
            if length(part) > before:
                waits, began = list(WAITS), True
            if not waits or not _may_pass(error, began):
                raise
            wait = getattr(error, "seconds", None) or waits[0]
            waits.pop(0)
            log.warning("%s: %s; trying again in %g s", file.url, reason_of(error), wait)
            time.sleep(wait)


def _may_pass(error: Exception, began: bool) -> bool:
    """Whether the same request may bring more a little later: where a server never answered, or
    the disk is full, it will not."""
    if isinstance(error, TryLater):
        return (error.seconds or 0) <= LONGEST_WAIT
    if isinstance(error, HTTPError):
        return error.code >= 500
    if isinstance(error, (CutOff, ConnectionError, HTTPException)):
        return True
    return began and isinstance(error, (TimeoutError, URLError))


def length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def tag_of(part: Path) -> Path:
    """Where is noted which version of its file a part is of: the server's ETag or date."""
    return part.with_name(f".{part.name}.etag")


def _receive_once(file: RemoteFile, part: Path) -> None:
    """One request: for the rest of the file, or all of it where the server knows no ranges."""
    answer = _asked(file, part)
    if answer is None:
        return
    with answer:
        at = _first_byte(answer)
        total = _total(answer, at)
        _refuse_other(file, answer, total)
        if at == 0:
            _note_tag(part, answer)
        _require_room(part, total or 0)
        with part.open("r+b" if at else "wb") as output:
            output.seek(at)
            output.truncate()
            _copy(answer, output, at, total, part.name.removesuffix(PART))
    if total is not None and (came := length(part)) < total:
        raise CutOff(f"the connection ended after {came / 1e6:.1f} of {total / 1e6:.1f} MB")


def _asked(file: RemoteFile, part: Path) -> HTTPResponse | None:
    """The server's answer: the rest of the file if `part` is the beginning of the version that it
    still has, else all; None if there is no rest."""
    headers, done = dict(AGENT), length(part)
    tag = tag_of(part).read_text() if tag_of(part).exists() else ""
    if done and (tag or file.checksum):
        headers |= {"Range": f"bytes={done}-"} | ({"If-Range": tag} if tag else {})
    try:
        return _answer(Request(file.url, headers=headers))
    except HTTPError as error:
        if error.code == 416 and "Range" in headers:
            if error.headers.get("Content-Range", "") == f"bytes */{done}":
                return None
            return _answer(Request(file.url, headers=AGENT))
        if error.code == 429 or error.headers.get("Retry-After"):
            raise _later(error) from error
        raise


def _later(error: HTTPError) -> TryLater:
    after = error.headers.get("Retry-After", "")
    seconds = float(after) if after.isdigit() else None  # it may be a date
    named = "" if seconds is None else f", {seconds:g} seconds as it says"
    return TryLater(reason_of(error) + named, seconds)


def _answer(request: Request) -> HTTPResponse:
    """The answer, whose reading ends with an error where nothing comes for STALL seconds."""
    outcomes: list[HTTPResponse | Exception] = []
    given_up = False

    def ask() -> None:
        try:
            answer: HTTPResponse = urlopen(request, timeout=STALL)
            outcomes.append(answer)
            if given_up:
                answer.close()
        except Exception as error:
            if isinstance(error, HTTPError):
                error.close()  # its page is not read
            outcomes.append(error)

    # In a thread: looking up a name may take longer than any timeout of a connection.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    given_up = not outcomes
    if given_up:
        raise TimeoutError(f"no answer within {PATIENCE:g} seconds")
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]
    return outcomes[0]


def unreachable(url: str) -> str | None:
    """Why nothing answers at `url`, within PATIENCE; None if something does."""
    try:
        _answer(Request(url, method="HEAD", headers=AGENT)).close()
    except HTTPError:  # it refuses, and is there
        return None
    except (OSError, HTTPException) as error:
        return reason_of(error)
    return None


def _first_byte(answer: HTTPResponse) -> int:
    """The place in the file of the first byte that comes."""
    named = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(named[1]) if answer.status == 206 and named else 0


def _total(answer: HTTPResponse, at: int) -> int | None:
    """The bytes of the whole file, if the server says so."""
    rest = answer.headers.get("Content-Length", "")
    return at + int(rest) if rest.isdigit() else None


def _refuse_other(file: RemoteFile, answer: HTTPResponse, total: int | None) -> None:
    """WrongAnswer if it is a web page, or of another size than the file is known to have."""
    page = answer.headers.get_content_type() in PAGES or HTML.match(answer.peek(512))
    if page and answer.status == 200:
        elsewhere = f" from {answer.url}" if answer.url != file.url else ""
        raise WrongAnswer(
            f"the server sent a web page{elsewhere} instead of the file (a login page, the portal "
            f"of a network, or the file has moved)"
        )
    if file.size is not None and total is not None and file.size != total:
        raise WrongAnswer(f"the server has another file: {total:,} bytes, not {file.size:,}")


def _require_room(part: Path, total: int) -> None:
    needed, free = total - length(part), shutil.disk_usage(part.parent).free
    if needed > free:
        text = f"{needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free"
        raise OSError(errno.ENOSPC, text)


def _copy(answer: HTTPResponse, output: IO[bytes], at: int, total: int | None, name: str) -> None:
    with console.bar(f"downloading {name}", total, at, in_bytes=True) as bar:
        try:
            while block := answer.read1(CHUNK):
                output.write(block)
                bar.advance(len(block))
        except TimeoutError as error:
            raise TimeoutError(f"nothing came for {STALL:g} seconds") from error


def _note_tag(part: Path, answer: HTTPResponse) -> None:
    tag = answer.headers.get("ETag", "")
    tag = answer.headers.get("Last-Modified", "") if tag[:2] in ("", "W/") else tag
    if tag:
        tag_of(part).write_text(tag)
    else:
        tag_of(part).unlink(missing_ok=True)
