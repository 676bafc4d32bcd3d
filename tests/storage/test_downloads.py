"""Downloads from servers that answer, refuse, hang, stop in the middle or send something else."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from robustrun.errors import DataError
from robustrun.storage import downloads
from robustrun.storage.downloads import published_weights, stalls_end, unreachable

WORDS = ("model.weights", "name a file")


class Server(BaseHTTPRequestHandler):
    """Has /weights.pt, /damaged.pt and /stops.pt (half of it); refuses HEAD."""

    content = b""

    def do_GET(self) -> None:
        content = b"<html>404</html>" if self.path == "/damaged.pt" else self.content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        stops = self.path == "/stops.pt"
        self.wfile.write(content[: len(content) // 2] if stops else content)
        if stops:
            self.wfile.flush()
            time.sleep(2)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine; torch.hub's folder is new."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    torch.save({"w": torch.arange(3.0)}, tmp_path / "w.pt")
    monkeypatch.setattr(Server, "content", (tmp_path / "w.pt").read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_weights_are_fetched_once_also_from_a_server_that_refuses_head(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unreachable(f"{address}/weights.pt") is None
    first = published_weights(f"{address}/weights.pt", *WORDS)
    monkeypatch.setattr(downloads, "urlopen", None)  # neither asked nor fetched a second time
    monkeypatch.setattr("torch.hub.download_url_to_file", None)
    again = published_weights(f"{address}/weights.pt", *WORDS)
    assert first["w"].tolist() == again["w"].tolist() == [0, 1, 2]


def test_a_server_that_is_not_there_is_said_with_the_place_for_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/weights.pt"
        assert "refused" in str(unreachable(url))
        with pytest.raises(DataError, match="refused") as caught:
            published_weights(url, *WORDS)
    place = tmp_path / "hub" / "checkpoints" / "weights.pt"
    for part in (url, f"put it at {place}, or name a file."):
        assert part in str(caught.value)


def test_a_server_that_hangs_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    test_is_over = threading.Event()

    def hangs(*_: object, **__: object) -> None:
        test_is_over.wait(5)
        raise OSError

    monkeypatch.setattr(downloads, "PATIENCE", 0.1)
    monkeypatch.setattr(downloads, "urlopen", hangs)
    began = time.monotonic()
    assert "no answer within" in str(unreachable("http://example.invalid"))
    test_is_over.set()
    assert time.monotonic() - began < 3


def test_a_download_that_stops_in_the_middle_is_given_up(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "STALL", 0.2)
    with pytest.raises(DataError, match="timed out"):
        published_weights(f"{address}/stops.pt", *WORDS)


def test_a_download_of_something_else_is_named(address: str) -> None:
    with pytest.raises(DataError, match=r"^model\.weights names .*damaged\.pt, which is no file"):
        published_weights(f"{address}/damaged.pt", *WORDS)


def test_a_file_that_has_not_the_hash_of_its_name_is_refused_and_not_kept(address: str) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match="invalid hash value"):
            published_weights(f"{address}/weights-01234567.pth", *WORDS)


def test_the_processs_timeout_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = socket.getdefaulttimeout()
    with pytest.raises(RuntimeError), stalls_end():  # noqa: PT012
        assert socket.getdefaulttimeout() == downloads.STALL
        raise RuntimeError
    assert socket.getdefaulttimeout() == before
