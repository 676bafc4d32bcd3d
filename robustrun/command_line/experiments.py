"""One run or a sweep, handed to Hydra."""

import os
import shlex
import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig

from robustrun import console
from robustrun.command_line.execute import execute, load_composed
from robustrun.command_line.failures import print_remarks
from robustrun.command_line.session import CURRENT, Session, request
from robustrun.command_line.sweep import IN_DRIVER, close_sweep, driven, runs_of_sweep
from robustrun.command_line.sweep_worker import run_one_of_sweep
from robustrun.compute import place
from robustrun.configuration import composition, words
from robustrun.configuration.catalogue import catalogue, options_by_group
from robustrun.configuration.words import Line
from robustrun.errors import RobustrunError, RunFailure
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import FILE, FOLDER

SHOWING = {"--cfg", "--info", "-i", "--help", "-h", "--hydra-help", "--shell-completion", "-sc"}
DAY = "????-??-??"  # the folder of a day's runs


def experiments(arguments: list[str], session: Session) -> int:
    """One run or a sweep, through Hydra."""
    line = words.split(arguments)
    words.parse_all(line.words)
    here = place.place(os.environ)
    if line.sweeps and here is not None and here.count > 1:
        raise RobustrunError(
            f"A sweep is driven by one process: start it without torchrun or srun, and with "
            f"device.processes={here.count} each of its runs has {here.count}."
        )
    session.command = session.command or shlex.join(["robustrun", *arguments])
    session.line, session.folders = _as_from_the_catalogue(line)
    given = words.parse_all(session.line.words)
    if not line.sweeps:
        words.require_single(given, f"To run once with each, write {_swept(line)}.")
    _refuse_what_no_group_takes(given, session.folders)
    hydras = composition.for_hydra(session.line, session.folders)
    more = () if {name for name, _ in line.flags} & SHOWING else (IN_DRIVER,)
    sys.argv = ["robustrun", *replace(hydras, words=(*more, *hydras.words)).arguments()]
    job = hydra_main(config_path=str(catalogue()), config_name="config", version_base="1.3")(_job)
    session.runs = runs_of_sweep(session.line)
    with composition.own_hydra(), driven(session):
        composition.register_resolvers()
        if session.runs is None:
            job()
        else:
            with console.bar("sweep", session.runs) as session.bar:
                job()
    if session.error is not None:
        raise session.error
    return close_sweep(session)


def _job(composed: DictConfig) -> float | None:
    """What Hydra runs, in this process or in a launcher's; returns what a search maximises."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_one_of_sweep(composed)
    session = CURRENT.get()
    assert session is not None  # a single run is done by the process that was started
    _run_alone(composed, session)
    return None


def _as_from_the_catalogue(line: Line) -> tuple[Line, list[Path]]:
    """The line, and the folders of further options; of `--config-path RUN` the words that make the
    run's configuration from the catalogue."""
    folders = composition.opened_folders(line)
    place = line.value("--config-path")
    if place is None or not _has_configuration(Path(place)):
        return line, folders
    from robustrun.run_folder import repetition

    if not repetition.is_run(Path(place)):
        return line, folders
    line, kept, remarks = repetition.repeated_line(line)
    print_remarks(remarks)
    return line, list(dict.fromkeys([*folders, *kept]))


def _swept(line: Line) -> str:
    """The same as a sweep."""
    return shlex.join(["robustrun", "-m", *line.arguments()])


def _has_configuration(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("config.yaml", "checkpoint/origin.json"))


def _refuse_what_no_group_takes(overrides: list[Override], folders: list[Path]) -> None:
    groups = options_by_group(folders)
    for override in overrides:
        group = words.key(override)
        if group not in groups or override.is_delete() or override.is_sweep_override():
            continue
        value, word = override.value(), override.input_line
        if value is None:
            options = ", ".join(groups[group])
            raise RobustrunError(f"{word}: a run needs one {group}. Known: {options}.")
        if isinstance(value, list):
            several = ",".join(map(str, value))
            first = value[0] if value else groups[group][0]
            raise RobustrunError(
                f"{word}: a run has one {group}; Hydra would merge these and the last would win. "
                f"Choose one ({group}={first}), or sweep over them with "
                f"-m {group}={several or first}. To measure with more attacks, add "
                f"+{group}@evaluation.attacks.NAME={first}."
            )


def _run_alone(composed: DictConfig, session: Session) -> None:
    """The one run of a command, from the composed configuration."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    try:
        run_config = load_composed(composed, session.folders)
        before = _begun_before(folder, run_config) if _resumes(composed) else None
    except Exception as error:
        session.leave_nothing()  # Hydra made its folder, and nothing has run
        session.error = error
        return
    if before is not None and before != folder:
        session.leave_nothing()
    try:
        asked = request(session, list(hydra.overrides.task), run_config)
        execute(run_config, before or provenance.claim(folder, asked))
    except Exception as error:  # kept, because Hydra would add words of its own
        session.error = error
    except SystemExit as error:
        session.error = RunFailure(f"A part of the run called sys.exit({error.code!r}).")


def _resumes(composed: DictConfig) -> bool:
    resume = composed.get("resume", "never")
    if resume not in ("never", "auto"):
        raise RobustrunError(f"resume is {resume!r}, but must be never or auto.")
    return bool(resume == "auto")


def _begun_before(folder: Path, run_config: Any) -> Path | None:
    """The latest unfinished run with this configuration: in `folder` itself or, if that was named
    by the time, among the runs of all days beside it."""
    from robustrun.configuration.decoding import dump

    plain = dump(run_config)
    if provenance.taken(folder):
        return folder
    if not fnmatch(folder.parent.name, DAY):
        return None
    begun = folder.parent.parent.glob(f"{DAY}/*/{FOLDER}/{FILE}")
    for file in sorted(begun, reverse=True):
        if provenance.resumable(file.parents[1], plain):
            return file.parents[1]
    return None
