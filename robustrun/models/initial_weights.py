"""The weights that a network begins with: random ones, or another training's, and which those are.

A last layer for other classes is new, and so is what a network has beside the weights it was given.
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from robustrun.errors import DataError, listed
from robustrun.models.weights import aligned, fill, head
from robustrun.storage.weights import read

log = logging.getLogger(__name__)
WEIGHTS = "model.safetensors"  # in a run's folder
SHOWN = 8  # names of new tensors that the log shows
ATTRIBUTE = "initial_weights"  # of the network that got them


@dataclass(frozen=True)
class InitialWeights:
    """Where a network's first weights are from, and which of its tensors were taken from there."""

    source: str  # the file, or what a library calls them
    sha256: str | None  # of the file; None: a library had it
    taken: tuple[str, ...]  # names in the network
    parameters: frozenset[int] = frozenset()  # the parameters that hold them, by id


@dataclass(frozen=True)
class Taken:
    """What a network has from elsewhere, now that it is whole."""

    source: str
    sha256: str | None
    taken: int  # tensors
    new: tuple[str, ...]  # tensors with random weights


def started(network: nn.Module, weights: str, normalize: nn.Module, classes: int) -> nn.Module:
    """The network with its first weights: `random`, those of a file, or of a finished run's folder.
    A last layer for other classes than `classes` stays random. `normalize` has the `mean` and
    `std` that stand before the network. DataError if the weights are another network's."""
    if weights == "random":
        return network
    file = file_of(weights)
    state = read(str(file), "model.weights")
    state = aligned(network, state, weights, dict(normalize.named_buffers()))
    fitting = fill(network, state, weights, head(network, classes))
    note(network, weights, digest_of(file), fitting)
    return network


def file_of(weights: str) -> Path:
    """The file that `model.weights` names, itself or by the folder of a run; DataError without."""
    place = Path(weights).expanduser()
    if not place.is_dir():
        return place
    if not (place / WEIGHTS).is_file():
        raise DataError(
            f"model.weights is the folder {weights!r}, which is no finished run: it has no "
            f"{WEIGHTS}. Name a run that completed, or a file of weights."
        )
    return place / WEIGHTS


def note(network: nn.Module, source: str, sha256: str | None, taken: Iterable[str]) -> None:
    """Note in the network, and say, that these of its tensors are from `source`."""
    names = tuple(name for name in taken if not name.startswith("normalize."))
    held = dict(network.named_parameters(remove_duplicate=False))
    ids = frozenset(id(held[name]) for name in names if name in held)
    setattr(network, ATTRIBUTE, InitialWeights(source, sha256, names, ids))
    found = taken_by(network)
    assert found is not None
    new = f"; new, with random weights: {listed(found.new, SHOWN)}" if found.new else ""
    log.info("weights from %s: %d tensors taken%s", source, found.taken, new)


def taken_by(model: nn.Module) -> Taken | None:
    """What a network, or the one within it, has from elsewhere; None if all of it is random."""
    for prefix, module in model.named_modules():
        about = getattr(module, ATTRIBUTE, None)
        if isinstance(about, InitialWeights):
            new = [f"{prefix}.{name}" if prefix else name for name in _new(module, about)]
            return Taken(about.source, about.sha256, len(about.taken), tuple(new))
    return None


def _new(network: nn.Module, about: InitialWeights) -> list[str]:
    """Of the network as it is now: a method may have put a layer of its own into it since."""
    parameters = dict(network.named_parameters(remove_duplicate=False))
    state = (name for name in network.state_dict() if not name.startswith("normalize."))
    names = (name for name in state if not name.endswith("num_batches_tracked"))
    return [
        name
        for name in names
        if name not in about.taken
        or (name in parameters and id(parameters[name]) not in about.parameters)
    ]


def digest_of(file: str | Path) -> str:
    """SHA-256 of a file's content."""
    with Path(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
