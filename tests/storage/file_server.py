"""A server on this machine whose files come whole, in parts, cut short, late or not at all."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 400  # of every file that is not named otherwise


class FileServer(BaseHTTPRequestHandler):
    """What a path is called decides how it is answered; `asked` has the ranges that were."""

    files: dict[str, bytes]
    asked: list[tuple[str, str | None]]
    etag = '"one"'
    wait = "0"  # seconds that /busy asks for

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range")))
        name = self.path.lstrip("/")
        if name == "moved":
            return self._head(302, 0, Location="/file")
        if name == "busy" and len(self.asked) == 1:
            return self._head(429, 0, **{"Retry-After": self.wait})
        if name.isdigit():
            return self._head(int(name), 0)
        if name == "portal":
            return self._whole(b"\n <!DOCTYPE html><title>Log in</title>", "application/zip")
        if name == "page":
            return self._whole(b"Please log in", "text/html; charset=utf-8")
        content = self.files.get(name, CONTENT)
        begun = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", self.etag) == self.etag
        if begun and same and name != "no_ranges":
            return self._part(content, int(begun[1]), cut=name == "cut")
        return self._whole(content, "application/zip", cut=name in ("cut", "stops"))

    def _part(self, content: bytes, at: int, cut: bool) -> None:
        if at >= len(content):
            return self._head(416, 0, **{"Content-Range": f"bytes */{len(content)}"})
        place = f"bytes {at}-{len(content) - 1}/{len(content)}"
        self._head(206, len(content) - at, **{"Content-Range": place})
        self._send(content[at:], cut)

    def _whole(self, content: bytes, kind: str, cut: bool = False) -> None:
        self._head(200, len(content), **{"Content-Type": kind, "ETag": self.etag})
        self._send(content, cut)

    def _send(self, content: bytes, cut: bool) -> None:
        self.wfile.write(content[: max(len(content) // 3, 1)] if cut else content)
        if self.path == "/stops":
            self.wfile.flush()
            time.sleep(1)

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(length)}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def file_server(**files: bytes) -> Iterator[tuple[str, type[FileServer]]]:
    """Its address, and what it was asked; `files` by name, with _ for a dot."""
    named = {name.replace("_pt", ".pt"): content for name, content in files.items()}
    handler = type("Handler", (FileServer,), {"files": named, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
