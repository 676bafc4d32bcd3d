"""The user's cache folder: what can be computed again, kept for the next run."""

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


def cache_folder(kind: str) -> Path | None:
    """Where things of one kind are kept; None where there is no home.

    Below ROBUSTRUN_CACHE, else XDG_CACHE_HOME/robustrun, else ~/.cache/robustrun.
    """
    own, shared = os.environ.get("ROBUSTRUN_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(shared) if os.path.isabs(shared) else Path.home() / ".cache"
        folder = Path(own).expanduser() if own else base / "robustrun"
    except RuntimeError:
        return None
    return folder / kind


def keep(place: Path, parts: Iterable[bytes], what: str) -> None:
    """Write `parts` to `place` in one step; a folder that cannot be written costs no more than
    time, and the log says that `what` is not kept."""
    aside = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.writelines(parts)
        os.replace(aside, place)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        log.info("%s are not kept in %s: %s", what, place.parent, error.strerror)
