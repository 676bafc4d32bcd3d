"""Where a run came from, kept in its folder so that it can go on: by whom, how and since when."""

import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from robustrun import config
from robustrun.errors import ConfigError, DataError
from robustrun.results import write_json

FOLDER = "checkpoint"
FILE = "origin.json"


@dataclass(frozen=True)
class Origin:
    """What a run was started with."""

    command: str
    directory: str  # that relative paths of the configuration begin at
    source: str | None  # of an evaluation: the run or file that is measured
    started_at: str
    resumed_at: list[str]
    seconds: float  # spent before, as far as results.json was still written


def begin(folder: Path, source: Path | None) -> Origin:
    """Note that the run in `folder` begins, or goes on."""
    now, file = datetime.now(UTC).isoformat(timespec="seconds"), folder / FOLDER / FILE
    if file.is_file():
        before = read(folder)
        seconds = _status(folder).get("seconds") or before.seconds
        found = replace(before, resumed_at=[*before.resumed_at, now], seconds=seconds)
    else:
        command = shlex.join(["robustrun", *sys.argv[1:]])
        absolute = str(source.resolve()) if source else None
        found = Origin(command, os.getcwd(), absolute, now, [], 0.0)
    write_json(file, asdict(found))
    return found


def read(folder: Path) -> Origin:
    """DataError unless a run was begun in `folder`."""
    try:
        return Origin(**json.loads((folder / FOLDER / FILE).read_text()))
    except FileNotFoundError:
        raise DataError(f"{folder} is no run: it has no {FOLDER}/{FILE}.") from None
    except (ValueError, TypeError) as error:
        raise DataError(f"{folder / FOLDER / FILE} is damaged ({error}).") from None


def status(folder: Path) -> str:
    """completed, failed, interrupted; empty where no results.json can be read."""
    return str(_status(folder).get("status", ""))


def goes_on(folder: Path, plain: dict[str, Any]) -> bool:
    """Whether `folder` has an unfinished run with this configuration that nobody works on."""
    if status(folder) == "completed" or not (folder / FOLDER / FILE).is_file():
        return False
    try:
        with locked(folder):
            require_same(folder, plain)
        return read(folder).source is None
    except (ConfigError, DataError, OSError, yaml.YAMLError):
        return False


def _status(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / "results.json").read_text())["run"]
        return about
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run's folder; ConfigError if another process does. A dead process holds nothing."""
    (folder / FOLDER).mkdir(exist_ok=True)
    with (folder / FOLDER / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"{folder} is in use: another process works on this run.") from None
        yield


def require_same(folder: Path, plain: dict[str, Any]) -> None:
    """ConfigError if a run with another configuration was begun in `folder`."""
    if (folder / "config.yaml").is_file():
        before = yaml.safe_load((folder / "config.yaml").read_text())
        require_equal(before, plain, folder)


def require_equal(before: Any, now: Any, place: Path) -> None:
    """ConfigError that lists the keys in which two plain configurations differ; what was not yet a
    key when the former was written has the value that says the same."""
    before = config.dump(config.load(before))
    if differing := list(differences(before, now)):
        shown = "; ".join(f"{key} was {then!r} and is {new!r}" for key, then, new in differing[:5])
        more = f"; and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise ConfigError(
            f"{place} belongs to a run with another configuration: {shown}{more}. A run goes on "
            f"only as it was begun; start a new one for another configuration."
        )


def require_same_inputs(before: Any, now: dict[str, str | None], place: Path) -> None:
    """DataError that names the images and files which are not those that the run began with; what a
    checkpoint of an older version does not know is not compared."""
    if before is None:
        return
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        raise DataError(
            f"{place} belongs to a run with other inputs. Changed since it began: "
            f"{', '.join(changed)} (the content of files is compared). Put them back as they were, "
            f"or start a new run."
        )


def differences(one: Any, other: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value here, value there) wherever two plain configurations differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {**one, **other}:
            inner = f"{key}.{name}" if key else str(name)
            yield from differences(one.get(name), other.get(name), inner)
    elif one != other:
        yield key, one, other
