"""Downloads: a server that does not answer or that stops in the middle is an error, not a wait."""

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch

from robustrun.errors import DataError
from robustrun.storage.weights import Weights, read

log = logging.getLogger(__name__)
PATIENCE = 6.0  # seconds that a server has to answer at all
STALL = 30.0  # seconds that a download may stand still
HASH = re.compile(r"-([a-f0-9]{8,})\.pth$")  # the beginning of the SHA-256, in PyTorch's names


def unreachable(url: str) -> str | None:
    """Why nothing answers at `url` within PATIENCE; None if something does."""
    reasons: list[str | None] = [f"no answer within {PATIENCE:.0f} seconds"]

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=PATIENCE).close()
            reasons.append(None)
        except HTTPError:  # some servers refuse HEAD and give the file
            reasons.append(None)
        except OSError as error:
            reasons.append(str(getattr(error, "reason", error)))

    # In a thread: looking up a name may take longer than any timeout of a connection.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return reasons[-1]


@contextmanager
def stalls_end() -> Iterator[None]:
    """A connection that stands still in this context is an error: the libraries set no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def fetching(url: str, key: str, instead: str) -> Iterator[None]:
    """A download to torch.hub's folder that fails in this context is a DataError with the ways out.
    `key` names the setting that asks for it, `instead` says what else can be done."""
    place = hub_file(url)
    try:
        if not place.exists() and (reason := unreachable(url)):
            raise OSError(reason)
        with stalls_end():
            yield
    except (OSError, EOFError, RuntimeError) as error:
        raise DataError(
            f"{key}: the published weights could not be fetched from {url} ({error}). Fetch that "
            f"file where there is a network and put it at {place}, or {instead}."
        ) from error


def published_weights(url: str, key: str, instead: str) -> Weights:
    """The state dict at `url`, kept in torch.hub's folder; a hash in the file's name, as PyTorch
    writes it there, is checked. DataError as of `fetching`, and for a file that is no weights."""
    place, named = hub_file(url), HASH.search(url)
    with fetching(url, key, instead):
        if not place.exists():
            log.info("downloading %s to %s", url, place)
            place.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(place), named and named[1], progress=False)
    return read(str(place), key)


def hub_file(url: str) -> Path:
    """Where torch.hub keeps the file at `url`."""
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(url)
