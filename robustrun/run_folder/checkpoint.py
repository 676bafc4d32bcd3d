"""What a run needs to continue: everything that decides the next step, in one file that knows its
own checksum, beside the one before it.
"""

import hashlib
import io
import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from robustrun.compute.random_state import rng_state
from robustrun.errors import DataError
from robustrun.storage.files import replace, write_atomically

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
MARK = b"robustrun checkpoint 1 sha256 "  # then the digest, a new line, and what torch.save wrote
WORTH = 50  # an epoch ends with a checkpoint unless so many times its cost have not yet passed
log = logging.getLogger(__name__)


@dataclass
class FileCheckpointer:
    """Keeps a training's state in `folder`, as often as the configuration asks for."""

    folder: Path
    about: dict[str, Any]  # the run's configuration and environment, to compare when it continues
    minutes: float
    steps: int | None
    saved: float = field(default_factory=time.monotonic)
    cost: float = 0.0  # seconds that the last one took

    def due(self, steps: int, epoch_ended: bool) -> bool:
        since = time.monotonic() - self.saved
        by_step = self.steps is not None and steps % self.steps == 0
        return by_step or since > 60 * self.minutes or (epoch_ended and since > WORTH * self.cost)

    def save(self, state: dict[str, Any]) -> None:
        began = time.monotonic()
        save(self.folder, {"about": json.dumps(self.about), "rng": rng_state(), "fit": state})
        self.saved = time.monotonic()
        self.cost = self.saved - began


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (plain values and tensors only). The checkpoint before it is kept, and the one
    before that is given up only when the new one is on the disk and reads back as it was."""
    folder.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest().encode()
    fresh = folder / f"{LAST}.new"
    write_atomically(fresh, MARK + digest + b"\n" + buffer.getvalue())
    _content(fresh)
    if (folder / LAST).exists():
        replace(folder / LAST, folder / PREVIOUS)
    replace(fresh, folder / LAST)


def load(folder: Path) -> dict[str, Any] | None:
    """The latest state in `folder` that is whole, or None if none was saved yet; DataError if all
    are damaged. What is damaged is named in the log."""
    problems = []
    for path in (folder / f"{LAST}.new", folder / LAST, folder / PREVIOUS):
        if not path.is_file():
            continue
        try:
            loaded: dict[str, Any] = torch.load(io.BytesIO(_content(path)), weights_only=True)
            return loaded
        except Exception as error:  # damaged files fail in a dozen ways
            problems.append(f"{path}: {error}")
            log.warning("the checkpoint %s is passed over: %s", path, error)
    if problems:
        raise DataError(f"No checkpoint in {folder} can be read. {'; '.join(problems)}.")
    return None


def _content(path: Path) -> bytes:
    """What torch.save wrote; DataError unless it has its checksum."""
    head, _, content = path.read_bytes().partition(b"\n")
    if not head.startswith(MARK):
        raise DataError("it is empty, damaged, or no checkpoint of robustrun")
    if hashlib.sha256(content).hexdigest().encode() != head.removeprefix(MARK):
        raise DataError("it is damaged: its SHA-256 is another")
    return content
