"""Files of weights: recognised by what they hold, read without unpickling code, and the state dict
found inside what a training saved.
"""

import logging
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from robustrun.errors import DataError, listed

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]

# Under these names a training's file holds its weights; the first that is there is taken, and the
# weights as they were trained come before their averages.
CONTAINERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module"),
    *("weights", "params", "parameters", "checkpoint"),
    *("ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "params_ema", "ema"),
)
NO_WEIGHTS = ("optim", "sched", "lr_", "scaler", "amp", "arg", "config", "cfg", "hyper", "rng")
SHOWN = 8  # keys that a message names
RESAVE = 'torch.save(network.state_dict(), "weights.pt")'


def read(path: str, key: str) -> Weights:
    """The state dict in a file: safetensors, or what torch.save wrote if it holds no code; what
    the file is decides, not its ending. `key` names the setting in a DataError."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{key} is {path!r}, but there is no such file.")
    form = _form(file)
    if form not in ("safetensors", "zip", "pickle"):
        raise DataError(f"{key} names {file}, which is no file of weights: it {form}.")
    try:
        if form == "safetensors":
            return load_file(file)
        with file.open("rb") as opened:  # given a path, torch.load goes by its ending
            loaded = torch.load(opened, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in a dozen ways
        raise DataError(f"{key} names {file}, which cannot be read: {_why(error)}") from error
    return _state_dict(loaded, file, key)


def _form(file: Path) -> str:
    """`safetensors`, `zip` or `pickle` (torch.save, now and formerly); else what the file is."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(64)
    if size == 0:
        return "is empty"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        return "safetensors"
    if head[:2] == b"PK":
        return _archive(file)
    if head[:1] == b"\x80":
        return "pickle"
    if head[:4] == b"\x89HDF":
        return "is HDF5, as Keras writes it"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS: fetch the file itself (git lfs pull)"
    if tarfile.is_tarfile(file):
        return (
            "is a tar archive, as PyTorch saved before 0.1.10, which cannot be read without "
            f"unpickling. Where you trust it, load it with an old PyTorch and save it again: "
            f"{RESAVE}"
        )
    return f"begins with {head[:16]!r}"


def _archive(file: Path) -> str:
    """What a zip file is."""
    if not zipfile.is_zipfile(file):
        return "is a zip archive, as torch.save writes it, that was cut short"
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    if any("/code/" in name or "serialized_exported_program" in name for name in names):
        return "is an exported program: robustrun evaluate FILE measures it as it is"
    if any(name.endswith("data.pkl") for name in names):
        return "zip"
    if names and all(name.endswith(".npy") for name in names):
        return "is NumPy's npz"
    return f"is a zip archive that torch.save did not write ({', '.join(names[:3])})"


def _why(error: Exception) -> str:
    """What hinders reading, in one paragraph."""
    text = str(error)
    if "Unsupported" in text or "weights_only" in text.lower():
        _, _, named = text.partition("GLOBAL ")
        held = f" ({named.split()[0]})" if named.split() else ""
        return (
            f"it holds more than tensors{held}, which only unpickling could restore, and that is "
            f"never done to a file from elsewhere. Where you trust it, save the tensors alone: "
            f"{RESAVE}"
        )
    return f"it is damaged ({type(error).__name__}: {' '.join(text.split())[:200]})."


def _state_dict(loaded: Any, file: Path, key: str) -> Weights:
    """The state dict in what was loaded; where it was found, and what else was there, is said."""
    if not isinstance(loaded, Mapping):
        raise DataError(f"{key} names {file}, which holds a {type(loaded).__name__}, no weights.")
    place: list[str] = []
    others: list[str] = []
    state: Mapping[Any, Any] = loaded
    while not _is_state_dict(state):
        candidates = [name for name in state if _holds_weights(name, state[name])]
        usual = [name for name in CONTAINERS if name in candidates]
        if not candidates or (len(candidates) > 1 and not usual):
            raise DataError(f"{key} names {file}, which {_lacks(state, place, candidates)}")
        name = (usual or candidates)[0]
        others += [".".join([*place, other]) for other in candidates if other != name]
        place, state = [*place, name], state[name]
    if place:
        left = f"; {', '.join(others)} left out" if others else ""
        level = logging.WARNING if others else logging.INFO
        log.log(level, "%s: the weights are those of %s%s", file, ".".join(place), left)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _is_state_dict(value: Mapping[Any, Any]) -> bool:
    """Whether these are tensors by name, and not a checkpoint that holds them."""
    tensors = [name for name, item in value.items() if isinstance(item, Tensor)]
    if not all(isinstance(name, str) for name in tensors):
        return False
    whole = len(tensors) == len(value) or any("." in name for name in tensors)
    return bool(tensors) and whole


def _holds_weights(name: Any, value: Any) -> bool:
    if not isinstance(name, str) or name.lower().startswith(NO_WEIGHTS):
        return False
    if not isinstance(value, Mapping):
        return False
    return _is_state_dict(value) or any(_holds_weights(key, value[key]) for key in value)


def _lacks(state: Mapping[Any, Any], place: list[str], candidates: list[str]) -> str:
    inside = f" under {'.'.join(place)}" if place else ""
    keys = listed((str(name) for name in candidates or state), SHOWN)
    if candidates:
        return (
            f"holds several state dicts{inside} ({keys}), and none is under a usual name: save "
            f"the one that is meant, torch.save(..., 'weights.pt')."
        )
    return (
        f"holds no state dict of tensors{inside}: its keys are {keys or 'none'}. It is looked "
        f"for under {', '.join(CONTAINERS[:5])} …"
    )
