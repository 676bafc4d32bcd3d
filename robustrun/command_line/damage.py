"""Errors of an installation: a package that robustrun needs and that cannot be imported.

Nothing but the standard library is imported, since the rest may be what is missing.
"""

from collections.abc import Iterator
from types import TracebackType

from robustrun.command_line.diagnosis.installation import modules


def in_words(error: BaseException) -> str | None:
    """What is said of an error that arose while a required package was imported; None for any other
    error."""
    if not isinstance(error, Exception):
        return None
    package = _missing(error) or _importing(error)
    if package is None:
        return None
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{package} cannot be imported: {text}. robustrun doctor says what is wrong here."


def _missing(error: Exception) -> str | None:
    """The required package that is not there."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    return error.name if error.name in modules() else None


def _importing(error: Exception) -> str | None:
    """The required package that was being imported."""
    for frame in _frames(error.__traceback__):
        name = str(frame.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if frame.tb_frame.f_code.co_name == "<module>" and name in modules():
            return name
    return None


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
