"""The errors that a user can correct: each is one message, without a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches
from os import fsencode
from pathlib import Path


class RobustrunError(Exception):
    """What the user can correct (exit code 2): says what is wrong, where, and what is right."""


class ConfigError(RobustrunError, ValueError):
    """A value of the configuration is wrong; the message begins with its key."""


class DataError(RobustrunError, ValueError):
    """A data set or a weight file is missing, damaged or not what it should be."""


class RunFailure(Exception):
    """The input was right and the run failed all the same (exit code 1): disk full, loss NaN."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest right words, then all of them."""
    known = sorted(set(known))
    near = get_close_matches(word, known, n=3, cutoff=0.6)
    guess = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return f"{guess} Known: {', '.join(known)}."


def require(condition: bool, key: str, value: object, allowed: str) -> None:
    """Raise ConfigError unless `condition`: for the range checks of `__post_init__`."""
    if not condition:
        raise ConfigError(f"{key} is {value!r}, but must be {allowed}.")


def listed(names: Iterable[str], most: int) -> str:
    """The names with commas between them; of more than `most`, how many are left out."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shown(name: str | Path) -> str:
    """A file's name as text that every log and file takes: bytes that are no UTF-8 as \\xNN."""
    return fsencode(name).decode(errors="backslashreplace")
