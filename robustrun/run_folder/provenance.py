"""Where a run came from, kept in its folder so that it can continue: how and since when."""

import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from robustrun.configuration import plugins
from robustrun.errors import ConfigError, DataError
from robustrun.run_folder.folder import CONFIGURATION, FILE, FOLDER, RUN_LOG, locked, runs_below
from robustrun.run_folder.schema import read_record, read_run
from robustrun.storage import files


@dataclass(frozen=True)
class Provenance:
    """What a run was started with. What older runs did not keep is empty or None."""

    command: str
    directory: str  # that relative paths of the configuration begin at
    source: str | None  # of an evaluation: the run or file that is measured
    started_at: str
    resumed_at: list[str] = field(default_factory=list)
    seconds: float = 0.0  # spent before, as far as results.json was still written
    overrides: list[str] | None = None  # from which the catalogue makes its configuration
    swept: list[str] = field(default_factory=list)  # a run of a sweep: all words that it was given
    folders: list[str] = field(default_factory=list)  # of options, beside the catalogue
    plugins: dict[str, str] = field(default_factory=dict)  # module: the folder it was found in
    configuration: dict[str, Any] | None = None  # until config.yaml holds it


def new(source: Path | None = None, command: str | None = None, **more: Any) -> Provenance:
    """The origin of a run that starts now and here."""
    typed = shlex.join(["robustrun", *sys.argv[1:]]) if command is None else command
    absolute = str(source.resolve()) if source else None
    return Provenance(typed, os.getcwd(), absolute, _now(), **more)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def claim(folder: Path, about: Provenance) -> Path:
    """Make `folder` this run's own, or a sibling with a number if another run has it already, in
    one step: from its first moment it holds what was asked for, and can be resumed."""
    candidates = [folder, *(folder.with_name(f"{folder.name}-{n}") for n in range(2, 1000))]
    for candidate in candidates:
        if take(candidate, about):
            return candidate
    raise ConfigError(f"Every folder from {folder} to {candidates[-1]} belongs to another run.")


def take(folder: Path, about: Provenance) -> bool:
    """Make exactly `folder` this run's own; False, and nothing is changed, if a run has it."""
    if taken(folder):
        return False
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    if not files.create_atomically(folder / FOLDER / FILE, files.json_bytes(asdict(about))):
        return False
    (folder / RUN_LOG).touch()
    return True


def taken(folder: Path) -> bool:
    """Whether a run has this folder."""
    return any((folder / name).exists() for name in (RUN_LOG, Path(FOLDER, FILE)))


def start(folder: Path, plugins: dict[str, str], source: Path | None) -> Provenance:
    """Note that the run in `folder` begins, or continues; its configuration is in config.yaml."""
    file = folder / FOLDER / FILE
    if not file.is_file():
        about = new(source, plugins=plugins)
    else:
        before, run = read(folder), read_run(folder)
        seconds = (run and run.seconds) or before.seconds
        again = [] if before.configuration else [_now()]
        about = replace(before, resumed_at=[*before.resumed_at, *again], seconds=seconds)
    about = replace(about, configuration=None)
    files.write_json(file, asdict(about))
    return about


def read(folder: Path) -> Provenance:
    """DataError unless a run was started in `folder`."""
    file = folder / FOLDER / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Provenance)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder} is no run: {_why_none(folder)}") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DataError(f"{file} is damaged ({error}).") from None


def _why_none(folder: Path) -> str:
    if any(path.is_file() and not path.name.endswith(files.PART) for path in folder.rglob("*")):
        return f"it has no {FOLDER}/{FILE}.{runs_below(folder)}"
    return "it is empty. A run that was stopped before its first file is started again as before."


def configuration(folder: Path) -> dict[str, Any]:
    """What the run in `folder` is to do, as its config.yaml says, or what was asked for where it
    was stopped before that was written; DataError if there is neither. Of a file that was exported
    from a run, what that did."""
    if folder.is_file():
        return read_record(folder).config
    if not (folder / CONFIGURATION).is_file():
        raw = read(folder).configuration
        if raw is None:
            raise DataError(f"{folder} has no {CONFIGURATION}: its input was refused.")
        return raw
    try:
        raw = yaml.safe_load((folder / CONFIGURATION).read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{folder / CONFIGURATION} is damaged ({error}).") from None
    if not isinstance(raw, dict):
        raise DataError(f"{folder / CONFIGURATION} is no configuration.")
    return {str(key): value for key, value in raw.items()}


def restore_plugins(folder: Path) -> None:
    """Import the modules from elsewhere that the run in `folder` was made with."""
    if (folder / FOLDER / FILE).is_file():
        plugins.restore(read(folder).plugins, folder)


def status(folder: Path) -> str:
    """completed, failed, interrupted; empty where no results.json can be read."""
    run = read_run(folder)
    return run.status if run else ""


def outcome(folder: Path) -> tuple[str, str]:
    """The status, and what went wrong; both empty where no results.json can be read."""
    run = read_run(folder)
    return (run.status, run.error or "") if run else ("", "")


def resumable(folder: Path, plain: dict[str, Any]) -> bool:
    """Whether `folder` has an unfinished run with this configuration that no process works on."""
    if status(folder) == "completed" or not (folder / FOLDER / FILE).is_file():
        return False
    try:
        with locked(folder):
            require_same(folder, plain)
        return read(folder).source is None
    except (ConfigError, DataError, OSError, yaml.YAMLError):
        return False


def require_same(folder: Path, plain: dict[str, Any]) -> None:
    """ConfigError if a run with another configuration was started in `folder`."""
    begun = (folder / FOLDER / FILE).is_file() and read(folder).configuration is not None
    if begun or (folder / CONFIGURATION).is_file():
        require_equal(configuration(folder), plain, folder)


def require_equal(before: Any, now: Any, place: Path) -> None:
    """ConfigError that lists the keys in which two plain configurations differ; what was not yet a
    key when the former was written has the value that says the same. How many processes there are
    may differ."""
    from robustrun.configuration.decoding import dump
    from robustrun.configuration.run_config import load_config

    changed = differences(dump(load_config(before)), now)
    if differing := [entry for entry in changed if entry[0] != "device.processes"]:
        shown = "; ".join(f"{key} was {then!r} and is {new!r}" for key, then, new in differing[:5])
        more = f"; and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise ConfigError(
            f"{place} belongs to a run with another configuration: {shown}{more}. A run "
            f"continues only with the configuration that it was started with; start a new one."
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
