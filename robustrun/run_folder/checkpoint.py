"""What a run needs to continue: everything that decides the next step, in one file that knows its
own checksum, beside the one before it.
"""

import hashlib
import io
import json
import logging
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from robustrun.compute.random_state import restore_rng, rng_state
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import RunConfig
from robustrun.datasets.run_data import Data
from robustrun.errors import DataError
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import FILE, LOCK
from robustrun.run_folder.inputs import as_older_versions, inputs
from robustrun.run_folder.schema import EnvironmentSection
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


def discard(folder: Path) -> None:
    """Remove what an unfinished run continues from: a complete one never reads it again. How the
    run was started stays, and the lock, which this process holds."""
    for entry in folder.iterdir():
        if entry.name not in (FILE, LOCK):
            with suppress(OSError):  # a file that stays does no harm
                entry.unlink()


def about(cfg: RunConfig, data: Data, environment: EnvironmentSection) -> dict[str, Any]:
    """What a run must still be when it continues, and where it was computed."""
    return {
        "config": dump(cfg),
        "inputs": inputs(cfg, data),
        "environment": asdict(environment),
    }


def state_before(folder: Path, now: dict[str, Any], data: Data) -> dict[str, Any] | None:
    """Where the training in `folder` stopped, with every random generator set to what it was; None
    if it did not begin. ConfigError or DataError if it was another run than `now`, which `about`
    made."""
    loaded = load(folder)
    if loaded is None:
        return None
    before = json.loads(loaded["about"])
    provenance.require_equal(before["config"], now["config"], folder)
    present = as_older_versions(now["inputs"], before.get("inputs"), data)
    provenance.require_same_inputs(before.get("inputs"), present, folder)
    _warn_of_another_place(before["environment"], now["environment"])
    restore_rng(loaded["rng"])
    state: dict[str, Any] = loaded["fit"]
    return state


def _warn_of_another_place(before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in ("torch", "device_name", "threads", "precision", "compile"):
        if before[name] != now[name]:
            values = (name, before[name], now[name])
            log.warning("%s was %s and is %s: the last bits may differ", *values)


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
