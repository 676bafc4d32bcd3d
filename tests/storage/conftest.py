"""The server that the tests of downloads ask."""

from collections.abc import Iterator

import pytest

from storage.file_server import FileServer, file_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[FileServer]]]:
    """Its address, and what it was asked; between tries nobody waits."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("robustrun.storage.transfer.WAITS", (0.0, 0.0))
    with file_server() as (address, handler):
        yield address, handler
