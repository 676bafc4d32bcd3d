"""Weights that someone else trained: read from a file, or fetched, and put into a network."""

import logging
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from robustrun.errors import DataError

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]

WRAPPERS = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile, and by custom
SHOWN = 6  # tensors that an error names
PATIENCE = 10.0  # seconds that a server has to answer, and that a download may stand still


def read(path: str) -> Weights:
    """The state dict in a file: safetensors, or what torch.save wrote if it holds no code."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"model.weights is {path!r}, but there is no such file.")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in a dozen ways
        raise DataError(
            f"model.weights names {file}, which cannot be read ({type(error).__name__}): it is "
            f"damaged, or holds more than tensors. What is read are .safetensors files, and state "
            f"dicts that torch.save wrote."
        ) from error
    return _tensors_in(loaded, file)


def _tensors_in(loaded: Any, file: Path) -> Weights:
    """The state dict in what was loaded, also from inside a checkpoint."""
    if isinstance(loaded, dict):
        inside = (loaded[key] for key in ("state_dict", "model") if key in loaded)
        loaded = next(inside, loaded)
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise DataError(f"model.weights names {file}, which holds no state dict of tensors.")
    return loaded


def below(state: Weights, prefix: str) -> Weights:
    """The part of a state dict whose keys begin with `prefix`, without it; else all of it."""
    part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return part or state


def fill(network: nn.Module, state: Weights, source: str, spare: Collection[str] = ()) -> None:
    """Put `state` into the network; tensors named in `spare` stay as they are if they do not fit.

    DataError if the file is another network's.
    """
    own = network.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    # Files from before PyTorch 0.4.1 do not count batches, which nothing here reads.
    excused = {*spare, *(k for k in own if k.endswith("num_batches_tracked"))}
    wrong = [k for k in {**own, **state} if k not in fitting and k not in excused]
    if wrong:
        shown = "; ".join(_difference(key, own, state) for key in wrong[:SHOWN])
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise DataError(
            f"model.weights: {source} holds the weights of another network. {len(wrong)} tensors "
            f"are missing, unknown or of another shape: {shown}{more}."
        )
    if missing := [k for k in spare if k in own and k not in fitting]:
        log.info("%s does not fit the classes: %s start anew", source, " and ".join(missing))
    network.load_state_dict(fitting, strict=False)


def _difference(key: str, own: Weights, state: Weights) -> str:
    if key not in state:
        return f"{key} is missing"
    found = "x".join(map(str, state[key].shape))
    if key not in own:
        return f"{key} ({found}) is unknown"
    return f"{key} is {found} instead of {'x'.join(map(str, own[key].shape))}"


def aligned(network: nn.Module, state: Weights) -> Weights:
    """`state` under the names that `network` has: without what wrappers put before them, behind
    `network.` where a library's network follows the normalisation, which files from elsewhere do
    not hold and which stays as configured."""
    for prefix in WRAPPERS:
        if state and all(key.startswith(prefix) for key in state):
            state = below(state, prefix)
    own = network.state_dict()
    if not any(key in own for key in state):
        state = {f"network.{key}": value for key, value in state.items()}
    return {key: value for key, value in own.items() if key.startswith("normalize.")} | state


def head(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The layer that gives the logits, with its name: the last one (SqueezeNet's convolves)."""
    found = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return found[-1]


def head_keys(network: nn.Module) -> tuple[str, str]:
    """The names of the logits' layer in the state dict."""
    name, _ = head(network)
    return f"{name}.weight", f"{name}.bias"


@contextmanager
def fetching(url: str) -> Iterator[None]:
    """Within it, a download to torch.hub's folder that fails is a DataError with the way out."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # torch.hub sets none, and would wait for ever
    try:
        yield
    except (OSError, EOFError, RuntimeError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(url)
        raise DataError(
            f"model.weights is 'pretrained', but they could not be fetched from {url} ({error}). "
            f"Fetch that file where there is a network and put it at {place}, or name a file as "
            f"model.weights, or start from random weights."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
