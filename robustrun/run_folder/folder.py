"""A run's folder: the names of its files, and its lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from robustrun.errors import ConfigError, DataError

FOLDER = "checkpoint"
FILE = "origin.json"
LOCK = "lock"
CONFIGURATION = "config.yaml"
RUN_LOG = "run.log"
RESULTS = "results.json"
WEIGHTS = "model.safetensors"
DEEPEST = 4  # folders between one that is named and the runs that are looked for below it


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


def require_finished(folder: Path) -> None:
    """DataError unless the folder is of a finished run."""
    if folder.is_file():
        beside = f", {folder.parent}" if (folder.parent / RESULTS).is_file() else ""
        raise DataError(
            f"{folder} is a file that holds no run (robustrun export RUN --to safetensors writes "
            f"such files): name the folder of a finished run{beside}."
        )
    for name in (CONFIGURATION, RESULTS, WEIGHTS):
        if not (folder / name).is_file():
            begun = (folder / FOLDER / FILE).is_file()
            more = (
                f" If it was interrupted: robustrun resume {folder}"
                if begun
                else runs_below(folder)
            )
            raise DataError(f"{folder} is no finished run: it has no {name}.{more}")


def runs_below(folder: Path) -> str:
    """A sentence that names the latest run below a folder; empty if there is none."""
    for depth in range(1, DEEPEST + 1):
        runs = sorted(file.parent for file in folder.glob("*/" * depth + RESULTS))
        if runs:
            return f" Below it are runs, such as {runs[-1]}."
    return ""


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
