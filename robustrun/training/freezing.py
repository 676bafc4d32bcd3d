"""Parts of a network that training leaves as they are: for fine-tuning, and for linear probing."""

import logging
from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from robustrun.compute.modes import BatchNorm, stay_in_eval
from robustrun.errors import ConfigError, listed
from robustrun.models.initial_weights import taken_by
from robustrun.models.weights import head

log = logging.getLogger(__name__)
ALL_BUT_HEAD = "all_but_head"
SHOWN = 12  # names that an error lists
OUTER = "network."  # before the names of a library's or a user's network, also more than once


def freeze(model: nn.Module, wanted: str | Iterable[str], classes: int) -> None:
    """Let training leave the parameters that are named alone; batch norms among them stay in eval
    mode, with the statistics that they have.

    `wanted`: `all_but_head`, or names of parts (`stages.0`) and patterns (`*.bn1.*`). ConfigError
    for one that names nothing, and if nothing is left to train.
    """
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    if not patterns:
        return
    if taken_by(model) is None:
        log.warning(
            "training.freeze keeps weights that are random, unless the network loads its own: "
            "model.weights names none"
        )
    last = head(model, classes) if ALL_BUT_HEAD in patterns else None
    _require_parts(model, patterns)

    def frozen(name: str) -> bool:
        if last is not None and not f"{name}.".startswith(f"{last}."):
            return True
        return any(_named(name, pattern) for pattern in patterns)

    for name, parameter in model.named_parameters():
        if frozen(name):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("training.freeze leaves nothing of the network to train.")
    for name, module in model.named_modules():
        if isinstance(module, BatchNorm):
            own = [f"{name}.{key}" for key, _ in module.named_parameters()] or [name]
            if all(map(frozen, own)):
                stay_in_eval(module)


def _require_parts(model: nn.Module, patterns: list[str]) -> None:
    """ConfigError for a pattern that names no part of the network."""
    names = [name for name, _ in model.named_modules()]
    names += [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if pattern != ALL_BUT_HEAD and not any(_named(name, pattern) for name in names):
            parts = listed((name for name, _ in _inner(model).named_children()), SHOWN)
            raise ConfigError(
                f"training.freeze names {pattern!r}, which is no part of the network. Its parts "
                f"are {parts}; patterns such as '*.bn1.*' and {ALL_BUT_HEAD} are taken, too."
            )


def _inner(model: nn.Module) -> nn.Module:
    """A library's or a user's network, without what stands before it and around it."""
    inner = getattr(model, OUTER.rstrip("."), None)
    return _inner(inner) if isinstance(inner, nn.Module) else model


def _named(name: str, pattern: str) -> bool:
    """Whether a part or parameter is what a pattern names, or lies in it."""
    if name and (fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")):
        return True
    return name.startswith(OUTER) and _named(name.removeprefix(OUTER), pattern)
