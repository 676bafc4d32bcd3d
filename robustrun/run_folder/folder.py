"""A run's folder: the names of its files, and its lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from robustrun.errors import ConfigError

FOLDER = "checkpoint"
FILE = "origin.json"
LOCK = "lock"
CONFIGURATION = "config.yaml"
RUN_LOG = "run.log"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run's folder; ConfigError if another process does. A dead process holds nothing."""
    (folder / FOLDER).mkdir(exist_ok=True)
    try:
        lock = FileLock(folder / FOLDER / LOCK, timeout=0).acquire()
    except Timeout:
        raise ConfigError(f"{folder} is in use: another process works on this run.") from None
    with lock:
        yield


def in_use(folder: Path) -> bool:
    """Whether a process works on the run; False where this one may not find out."""
    if not (folder / FOLDER / LOCK).exists():
        return False
    try:
        with locked(folder):
            return False
    except ConfigError:
        return True
    except OSError:  # a folder of others
        return False
