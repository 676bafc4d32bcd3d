"""The state of every random generator that a run draws from: seeded, read and restored."""

import random
from typing import Any

import numpy as np
import torch

from robustrun.compute import processes


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # libraries that draw from the legacy generator
    torch.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """The state of every generator that training draws from, as plain values and tensors."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "python": [list(random.getstate()[1]), random.getstate()[2]],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position],
        "numpy_gauss": [has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        alone = processes.count() == 1
        state["cuda"] = torch.cuda.get_rng_state_all() if alone else [torch.cuda.get_rng_state()]
    return state


def restore_rng(state: dict[str, Any]) -> None:
    """Set every generator to what `rng_state` gave."""
    kind, keys, position = state["numpy"]
    words, gauss = state["python"]
    random.setstate((random.getstate()[0], tuple(words), gauss))
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, *state["numpy_gauss"]))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        if processes.count() > 1:  # each has another GPU, and draws the same there
            torch.cuda.set_rng_state(state["cuda"][0])
        else:
            torch.cuda.set_rng_state_all(state["cuda"])
