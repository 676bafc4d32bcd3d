"""Files from elsewhere: where they lie, what is checked, and what is said when they are missing."""

import hashlib
import io
import socket
import threading
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from robustrun.errors import DataError, RunFailure
from robustrun.storage import downloads, transfer
from robustrun.storage.downloads import (
    fetch,
    fetching,
    published_weights,
    require_right,
    stalls_end,
)
from robustrun.storage.transfer import RemoteFile
from storage.file_server import CONTENT, FileServer, file_server

Server = tuple[str, type[FileServer]]
WORDS = ("model.weights", "name a file")
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.mark.parametrize("checksum", [None, MD5, SHA256, SHA256[:15]])
def test_a_file_is_fetched_once_and_nothing_else_is_left(
    server: Server, tmp_path: Path, checksum: str | None
) -> None:
    address, handler = server
    file = RemoteFile(f"{address}/file", checksum, len(CONTENT))
    for _ in range(2):
        place = fetch(file, tmp_path / "sub" / "data.zip", *WORDS)
    assert place.read_bytes() == CONTENT
    assert [path.name for path in place.parent.iterdir()] == ["data.zip"]
    assert len(handler.asked) == 1


def test_a_download_that_was_interrupted_is_continued(server: Server, tmp_path: Path) -> None:
    address, handler = server
    (tmp_path / "f.part").write_bytes(CONTENT[:500])
    fetch(RemoteFile(f"{address}/file", MD5), tmp_path / "f", *WORDS)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert handler.asked == [("/file", "bytes=500-")]


def test_a_beginning_of_another_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    address, handler = server
    (tmp_path / "f.part").write_bytes(b"x" * 500)
    fetch(RemoteFile(f"{address}/file", MD5), tmp_path / "f", *WORDS)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert handler.asked == [("/file", "bytes=500-"), ("/file", None)]


def test_a_file_with_another_checksum_gets_no_name(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"its MD5 sum is {MD5[4:]}, not abc"):
        fetch(RemoteFile(f"{server[0]}/file", "md5:abc"), tmp_path / "f", *WORDS)
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")]


def test_a_failed_download_says_why_what_to_fetch_and_where_to_put_it(
    server: Server, tmp_path: Path
) -> None:
    file = RemoteFile(f"{server[0]}/404", "md5:abc", 12_345_678)
    with pytest.raises(DataError) as caught:
        fetch(file, tmp_path / "f", *WORDS)
    assert str(caught.value) == (
        f"model.weights: f could not be fetched (the server has no such file (any more) "
        f"(HTTP 404)). Fetch {file.url} (12.3 MB, MD5 sum abc) where there is a network and put it "
        f"at {tmp_path / 'f'}, or name a file."
    )


@pytest.mark.parametrize("variable", ["ROBUSTRUN_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_no_socket_is_opened_and_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(socket, "socket", None)
    file = RemoteFile("https://example.invalid/f", SHA256)
    with pytest.raises(DataError, match=f"{variable}=1 forbids downloads.*{SHA256[7:]}.*put it at"):
        fetch(file, tmp_path / "f", *WORDS)
    (tmp_path / "f").write_bytes(b"put here by hand")
    assert fetch(file, tmp_path / "f", *WORDS) == tmp_path / "f"


def test_of_two_that_want_a_file_one_fetches_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, handler = server
    waits = threading.Event()
    monkeypatch.setattr(
        downloads.log, "info", lambda text, *_: waits.set() if "waiting" in text else None
    )
    with FileLock(tmp_path / ".f.lock"):  # as another process has it
        file = RemoteFile(f"{address}/file")
        thread = threading.Thread(target=fetch, args=(file, tmp_path / "f", *WORDS))
        thread.start()
        assert waits.wait(5)
        (tmp_path / "f").write_bytes(b"fetched by the other")
    thread.join()
    assert (tmp_path / "f").read_bytes() == b"fetched by the other"
    assert handler.asked == []


def test_a_full_disk_is_a_failure_of_the_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_require_room", _full)
    with pytest.raises(RunFailure, match=r"the disk of .* is full: 9 MB are needed"):
        fetch(RemoteFile(f"{server[0]}/file"), tmp_path / "f", *WORDS)


def _full(*_: object) -> None:
    raise OSError(downloads.errno.ENOSPC, "9 MB are needed and 1 MB are free")


def test_a_file_put_there_by_hand_must_be_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    require_right(RemoteFile("http://a/f", MD5, len(CONTENT)), tmp_path / "f", "dataset.root")
    (tmp_path / "f").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"f is not the file .*it has 102,399 bytes, not 102,400"):
        require_right(RemoteFile("http://a/f", MD5, len(CONTENT)), tmp_path / "f", "dataset.root")
    with pytest.raises(DataError, match="its SHA-256 is"):
        require_right(RemoteFile("http://a/f", SHA256), tmp_path / "f", "dataset.root")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder, which is new."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "hub" / "checkpoints"


def test_published_weights_lie_in_torch_hubs_folder(hub: Path) -> None:
    torch.save({"w": torch.arange(3.0)}, content := io.BytesIO())
    with file_server(weights_pt=content.getvalue()) as (address, handler):
        first = published_weights(f"{address}/weights.pt", *WORDS)
        with fetching(f"{address}/weights.pt", *WORDS):
            again = torch.load(hub / "weights.pt", weights_only=True)
    assert first["w"].tolist() == again["w"].tolist() == [0, 1, 2]
    assert len(handler.asked) == 1


def test_weights_that_have_not_the_hash_of_their_name_are_refused(
    hub: Path, server: Server
) -> None:
    with pytest.raises(DataError, match=r"its SHA-256 is .*, not 01234567"):
        published_weights(f"{server[0]}/weights-01234567.pth", *WORDS)
    assert not (hub / "weights-01234567.pth").exists()


def test_a_file_that_is_no_weights_is_named(hub: Path, server: Server) -> None:
    url = f"{server[0]}/damaged.pt"
    with pytest.raises(DataError, match=r"^model\.weights names .*damaged\.pt, which is no file"):
        published_weights(url, *WORDS)
    with pytest.raises(DataError, match="cannot be read"), fetching(url, *WORDS):
        raise RuntimeError("no archive")


def test_the_processs_timeout_is_put_back() -> None:
    before = socket.getdefaulttimeout()
    with pytest.raises(RuntimeError), stalls_end():  # noqa: PT012
        assert socket.getdefaulttimeout() == transfer.STALL
        raise RuntimeError
    assert socket.getdefaulttimeout() == before
