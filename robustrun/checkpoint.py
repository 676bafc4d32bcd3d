"""What a run needs to go on: everything that decides the next step, in one verified file."""

import hashlib
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robustrun.errors import DataError
from robustrun.results import write_atomically

FILE = "checkpoint.pt"
DIGEST = "checkpoint.sha256"  # torch.load reads most damaged files without a word


def rng_state() -> dict[str, Any]:
    """The state of every generator that training draws from, as plain values and tensors."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "python": list(random.getstate()[1]),
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position],
        "numpy_gauss": [has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (plain values and tensors only) so that a crash leaves the old or the new."""
    folder.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_atomically(folder / FILE, content)
    write_atomically(folder / DIGEST, hashlib.sha256(content).hexdigest().encode())


def load(folder: Path) -> dict[str, Any]:
    """The state in `folder`; DataError if it is missing or its checksum differs."""
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"There is no checkpoint at {path}.")
    content = path.read_bytes()
    expected = (folder / DIGEST).read_text().strip() if (folder / DIGEST).is_file() else "none"
    if hashlib.sha256(content).hexdigest() != expected:
        raise DataError(f"The checkpoint {path} is damaged: its SHA-256 is not {expected}.")
    loaded: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return loaded
