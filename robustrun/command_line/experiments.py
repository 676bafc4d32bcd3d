"""One run or a sweep, handed to Hydra."""

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig

from robustrun.command_line.exit_codes import DONE
from robustrun.command_line.session import CURRENT, Session
from robustrun.compute import place
from robustrun.configuration import composition, words
from robustrun.configuration.catalogue import catalogue, options_by_group
from robustrun.configuration.words import Line
from robustrun.errors import RobustrunError

SHOWING = {"--cfg", "--info", "-i", "--help", "-h", "--hydra-help", "--shell-completion", "-sc"}


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
    shows = bool({name for name, _ in line.flags} & SHOWING)
    return _show(hydras) if shows else _run(hydras, session)


def _show(hydras: Line) -> int:
    """What Hydra prints instead of running, without what runs alone need."""
    with composition.own_hydra():
        composition.register_resolvers()
        _through_hydra(hydras)()
    return DONE


def _run(hydras: Line, session: Session) -> int:
    # 0.1 s, which showing a configuration and shell completion need not wait for
    from robustrun import console
    from robustrun.command_line.sweep import IN_DRIVER, close_sweep, driven, runs_of_sweep

    job = _through_hydra(replace(hydras, words=(IN_DRIVER, *hydras.words)))
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


def _through_hydra(hydras: Line) -> Callable[[], Any]:
    """Hydra's main, for these words."""
    sys.argv = ["robustrun", *hydras.arguments()]
    decorated = hydra_main(config_path=str(catalogue()), config_name="config", version_base="1.3")
    job: Callable[[], Any] = decorated(_job)
    return job


def _job(composed: DictConfig) -> float | None:
    """What Hydra runs, in this process or in a launcher's; returns what a search maximises."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        from robustrun.command_line.sweep_worker import run_one_of_sweep

        return run_one_of_sweep(composed)
    from robustrun.command_line.single_run import run_alone

    session = CURRENT.get()
    assert session is not None  # a single run is done by the process that was started
    run_alone(composed, session)
    return None


def _as_from_the_catalogue(line: Line) -> tuple[Line, list[Path]]:
    """The line, and the folders of further options; of `--config-path RUN` the words that make the
    run's configuration from the catalogue."""
    folders = composition.opened_folders(line)
    place = line.value("--config-path")
    if place is None or not _has_configuration(Path(place)):
        return line, folders
    from robustrun.command_line.failures import print_remarks
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
