"""Writing that never tears: a reader, or a crash, sees the old file or the new one, whole."""

import csv
import io
import json
import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

PART = ".part"  # of a file that is being written
SYSTEM = os.name
WAITS = (0.1, 0.3, 1.0, 3.0)  # seconds between tries to replace a file that another program reads


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """In this context, an error that names a file names `path`, which the user knows, and not the
    one beside it that is to become it."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step: a reader or a crash sees the old or the new. Who
    may read it the umask decides, as for any new file."""
    _replace(path, lambda file: file.write(content))


def _replace(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Replace `path` by what `write` puts into a file, which need not be in memory as a whole."""
    temporary = _part_of(path, write)
    try:
        replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace(source: Path, target: Path) -> None:
    """Rename `source` to `target` in one step. Windows refuses that while another program reads
    the target (a table in Excel, a virus scanner), so it is tried there for a few seconds."""
    for wait in WAITS if SYSTEM == "nt" else ():
        with suppress(PermissionError):
            os.replace(source, target)
            return
        time.sleep(wait)
    with naming(target):
        os.replace(source, target)


def create_atomically(path: Path, content: bytes) -> bool:
    """Make `path` with `content` in one step; False, and nothing is changed, if there is one."""
    temporary = _part_of(path, lambda file: file.write(content))
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links on this disk: exclusive still, but a crash may leave it empty
        return _create(path, content)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _create(path: Path, content: bytes) -> bool:
    with suppress(FileExistsError), path.open("xb") as file:
        file.write(content)
        return True
    return False


def _part_of(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    """A new file beside `path` that holds what is written into it, on the disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{PART}")
    with naming(path):
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def clear_parts(folder: Path) -> None:
    """Remove what writes that were killed have left in the folder of a run."""
    for path in folder.rglob(f".*{PART}"):
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Strict JSON: a number that is not finite becomes null, since JSON has none."""
    write_atomically(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """`value` as strict JSON, in lines."""
    return (json.dumps(_finite(value), indent=2, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_csv(path: Path, header: list[str], rows: Iterable[dict[str, Any]]) -> None:
    """One line per row; a missing or unknown value is an empty field."""

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.DictWriter(text, header, restval="", extrasaction="raise", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text.flush()
        text.detach()

    _replace(path, write)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one row: one level of dotted keys; lists become text."""
    if not isinstance(value, dict):
        return {prefix: str(value) if isinstance(value, list) else value}
    row: dict[str, Any] = {}
    for name, item in value.items():
        row |= flat(item, f"{prefix}.{name}" if prefix else str(name))
    return row
