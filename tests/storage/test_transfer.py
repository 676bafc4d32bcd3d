"""A file over HTTP: whole, in parts, cut short, late, refused, or something else instead."""

import errno
import io
import logging
import re
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request

import pytest
from rich.console import Console

from robustrun import console
from robustrun.storage import transfer
from robustrun.storage.transfer import (
    RemoteFile,
    WrongAnswer,
    reason_of,
    receive,
    tag_of,
    unreachable,
)
from storage.file_server import CONTENT, FileServer

Server = tuple[str, type[FileServer]]
KNOWN = "md5:0"  # that there is a checksum allows to continue; whoever asks checks it


def test_a_file_comes_whole_also_where_it_was_moved_to(server: Server, tmp_path: Path) -> None:
    address, handler = server
    receive(RemoteFile(f"{address}/moved"), tmp_path / "f.part")
    assert (tmp_path / "f.part").read_bytes() == CONTENT
    assert handler.asked == [("/moved", None), ("/file", None)]


def test_only_the_rest_is_asked_for_of_a_file_that_was_begun(
    server: Server, tmp_path: Path
) -> None:
    address, handler = server
    (tmp_path / "f.part").write_bytes(CONTENT[:1000])
    receive(RemoteFile(f"{address}/file", KNOWN), tmp_path / "f.part")
    assert (tmp_path / "f.part").read_bytes() == CONTENT
    assert handler.asked == [("/file", "bytes=1000-")]
    receive(RemoteFile(f"{address}/file", KNOWN), tmp_path / "f.part")  # nothing is left to come
    assert (tmp_path / "f.part").read_bytes() == CONTENT


def test_a_server_without_ranges_gives_all_of_it_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"other" * 30_000)  # longer than the file, too
    receive(RemoteFile(f"{server[0]}/no_ranges", KNOWN), tmp_path / "f.part")
    assert (tmp_path / "f.part").read_bytes() == CONTENT


def test_a_beginning_of_an_unknown_or_another_version_is_not_continued(
    server: Server, tmp_path: Path
) -> None:
    address, handler = server
    part = tmp_path / "f.part"
    part.write_bytes(b"older")
    receive(RemoteFile(f"{address}/file"), part)  # no tag, no checksum
    assert part.read_bytes() == CONTENT
    part.write_bytes(b"older")
    tag_of(part).write_text('"another"')
    receive(RemoteFile(f"{address}/file"), part)
    assert part.read_bytes() == CONTENT
    assert handler.asked == [("/file", None), ("/file", "bytes=5-")]


def test_a_connection_that_is_cut_again_and_again_is_continued(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address, handler = server
    receive(RemoteFile(f"{address}/cut"), tmp_path / "f.part")
    assert (tmp_path / "f.part").read_bytes() == CONTENT
    starts = [int((asked or "bytes=0-")[6:-1]) for _, asked in handler.asked]
    assert starts == sorted(set(starts))  # each request asks for less: none came in vain
    assert "the connection ended after 0.0 of 0.1 MB; trying again in 0 s" in caplog.text


def test_a_server_that_wants_us_to_wait_is_asked_again(server: Server, tmp_path: Path) -> None:
    address, handler = server
    receive(RemoteFile(f"{address}/busy"), tmp_path / "f.part")
    assert (tmp_path / "f.part").read_bytes() == CONTENT
    assert len(handler.asked) == 2


@pytest.mark.parametrize(
    ("status", "says", "requests"),
    [
        (404, "the server has no such file (any more) (HTTP 404)", 1),
        (403, "the server refuses to give it (HTTP 403)", 1),
        (401, "the server asks for a login (HTTP 401)", 1),
        (429, "the server is asked too often and wants us to wait (HTTP 429)", 3),
        (503, "the server has a fault (HTTP 503)", 3),
    ],
)
def test_what_a_server_refuses_is_said_in_words(
    server: Server, tmp_path: Path, status: int, says: str, requests: int
) -> None:
    address, handler = server
    with pytest.raises(transfer.FAILURES) as caught:
        receive(RemoteFile(f"{address}/{status}"), tmp_path / "f.part")
    assert reason_of(caught.value) == says
    assert len(handler.asked) == requests
    assert not (tmp_path / "f.part").exists()


def test_a_server_that_wants_us_to_wait_for_long_is_not_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server[1], "wait", "3600")
    with pytest.raises(transfer.TryLater, match="3600 seconds as it says"):
        receive(RemoteFile(f"{server[0]}/busy"), tmp_path / "f.part")
    assert len(server[1].asked) == 1


@pytest.mark.parametrize("name", ["portal", "page"])
def test_a_web_page_is_recognised_by_its_type_or_its_beginning(
    server: Server, tmp_path: Path, name: str
) -> None:
    with pytest.raises(WrongAnswer, match="sent a web page instead of the file"):
        receive(RemoteFile(f"{server[0]}/{name}"), tmp_path / "f.part")
    assert not (tmp_path / "f.part").exists()


def test_a_file_of_another_size_is_not_even_begun(server: Server, tmp_path: Path) -> None:
    with pytest.raises(WrongAnswer, match="another file: 102,400 bytes, not 7"):
        receive(RemoteFile(f"{server[0]}/file", size=7), tmp_path / "f.part")
    assert not (tmp_path / "f.part").exists()


def test_a_download_that_stands_still_ends_and_keeps_what_came(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "STALL", 0.1)
    monkeypatch.setattr(transfer, "WAITS", ())
    with pytest.raises(TimeoutError, match=r"nothing came for 0\.1 seconds"):
        receive(RemoteFile(f"{server[0]}/stops"), tmp_path / "f.part")
    assert (tmp_path / "f.part").read_bytes() == CONTENT[: len(CONTENT) // 3]


def test_a_server_that_hangs_is_given_up_soon_and_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_is_over, asked = threading.Event(), []

    def hangs(request: Request, timeout: float) -> None:
        asked.append(request)
        test_is_over.wait(5)
        raise OSError

    monkeypatch.setattr(transfer, "PATIENCE", 0.1)
    monkeypatch.setattr(transfer, "urlopen", hangs)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer within"):
        receive(RemoteFile("http://example.invalid/f"), tmp_path / "f.part")
    test_is_over.set()
    assert time.monotonic() - began < 3
    assert len(asked) == 1


def test_a_server_that_is_not_there_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/f"
        with pytest.raises(OSError) as caught:  # noqa: PT011
            receive(RemoteFile(url), tmp_path / "f.part")
        assert "refused" in str(unreachable(url))
    assert "refused" in reason_of(caught.value)


def test_a_server_is_reached_also_if_it_refuses(server: Server) -> None:
    assert unreachable(f"{server[0]}/404") is None  # it knows no HEAD at all


def test_a_disk_without_room_is_told_before_anything_comes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int = 10

    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: Usage())
    with pytest.raises(OSError, match="0 MB are free") as caught:
        receive(RemoteFile(f"{server[0]}/file"), tmp_path / "f.part")
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "f.part").exists()


def test_progress_is_shown_in_megabytes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.StringIO()
    terminal = Console(file=text, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(console, "STDERR", terminal)
    receive(RemoteFile(f"{server[0]}/file"), tmp_path / "data.zip.part")
    assert re.search(r"downloading data\.zip .*0\.\d/0\.1 MB.* left ", text.getvalue())


def test_progress_in_a_log_has_megabytes_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(console, "FIRST_LINE", 0.0)
    with caplog.at_level(logging.INFO), console.bar("get", 200_000_000, in_bytes=True) as bar:
        bar.line_at = 0.0
        bar.advance(50_000_000)
    assert re.search(r"get: 50\.0 of 200\.0 MB, .*left", caplog.text)
