"""A sweep's runs, table, page and exit code."""

import json
import logging
import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from robustrun.command_line.execute import execute, load_composed
from robustrun.command_line.failures import DONE, FAILED, INTERRUPTED, exit_code_of, message_of
from robustrun.compute import interrupts
from robustrun.configuration import plugins, words
from robustrun.configuration.words import Line
from robustrun.run_folder import provenance
from robustrun.storage import files

SWEEP = "sweep.json"

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """One run as the command line saw it."""

    folder: Path
    overrides: list[str]
    code: int
    message: str = ""


@dataclass
class Session:
    """All runs of one command."""

    sweep_folder: Path | None = None
    line: Line = field(default_factory=lambda: words.split([]))  # what was typed
    folders: list[Path] = field(default_factory=list)  # of options, beside the catalogue
    command: str = ""  # as it was typed
    goes_on: bool = False  # what is finished in its folder is not done again
    error: BaseException | None = None  # of a single run
    outcomes: list[Outcome] = field(default_factory=list)
    runs: int | None = None  # of a sweep, where it is known
    bar: Any = None  # of a sweep

    @property
    def place(self) -> str:
        """Where a sweep is: `run 7 of 24`."""
        return f"run {len(self.outcomes)}" + (f" of {self.runs}" if self.runs else "")

    @property
    def left(self) -> str:
        """The time that the rest of a sweep will take, once a run is done."""
        return f" ({self.bar.left} left)" if self.bar and self.bar.done else ""


def note_sweep(folder: Path, arguments: list[str]) -> None:
    """Keep what `robustrun resume` needs to begin the sweep again."""
    if not (folder / SWEEP).exists():
        about = {"arguments": arguments, "directory": os.getcwd()}
        files.write_atomically(folder / SWEEP, json.dumps(about).encode())


def run_one_of_sweep(
    composed: DictConfig, folder: Path, overrides: list[str], session: Session, goes_on: bool
) -> None:
    """Whatever goes wrong is kept for the end, and the next run starts; only signals stop it."""
    claimed = begun = goes_on and provenance.taken(folder)
    outcome = Outcome(folder, overrides, DONE)
    session.outcomes.append(outcome)
    log.info("%s%s: %s", session.place, session.left, " ".join(overrides))
    if session.bar is not None:
        session.bar.advance(0, f"{session.place}: {' '.join(overrides)}", images=0)
    try:
        if begun and _completed(folder):
            return
        run_config = load_composed(composed)
        if not begun:
            outcome.folder = provenance.claim(folder, request(session, overrides, run_config))
        claimed = True
        execute(run_config, outcome.folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | interrupts.Terminated):
            outcome.code = INTERRUPTED
            raise
        outcome.code = exit_code_of(error)
        outcome.message = message_of(error, overrides)
        if not claimed:
            outcome.folder = provenance.claim(folder, request(session, overrides))
        log.error("run %s failed: %s", outcome.folder.name, outcome.message)
        _record_refusal(composed, outcome)
    finally:
        _summarise(session)
        if session.bar is not None:
            session.bar.advance(1, images=0)


def _completed(folder: Path) -> bool:
    return provenance.status(folder) == "completed"


def _record_refusal(composed: DictConfig, outcome: Outcome) -> None:
    """A run of a sweep whose configuration was refused leaves a results.json, too."""
    from robustrun.run_folder import artefacts

    if not (outcome.folder / "results.json").exists():
        raw = OmegaConf.to_container(composed, resolve=False)
        artefacts.write_refusal(outcome.folder, raw, outcome.message)


def _summarise(session: Session) -> None:
    from robustrun.report import summary

    if session.sweep_folder is not None:
        summary.write_sweep(session.sweep_folder, _columns(session))


def _columns(session: Session) -> list[tuple[Path, dict[str, str]]]:
    """Each run's folder, and what the words of its sweep set in it."""
    return [(outcome.folder, _settings(outcome.overrides)) for outcome in session.outcomes]


def _settings(overrides: list[str]) -> dict[str, str]:
    """What a run's overrides give to its row of summary.csv."""
    typed = [words.parse(word) for word in overrides]
    return {words.key(o): words.value_text(o) for o in typed if words.key(o) != "resume"}


def close_sweep(session: Session) -> int:
    """Close a sweep: its table, then what failed."""
    if session.sweep_folder is None:
        return DONE
    _show_sweep(session)
    failed = [outcome for outcome in session.outcomes if outcome.code != DONE]
    for outcome in failed:
        words = " ".join(outcome.overrides)
        print(f"robustrun: {outcome.folder} ({words}) failed: {outcome.message}", file=sys.stderr)
    if failed:
        count = f"{len(failed)} of {len(session.outcomes)}"
        print(f"robustrun: {count} runs of this sweep failed", file=sys.stderr)
    return FAILED if failed else DONE


def _show_sweep(session: Session) -> None:
    from robustrun.report import sweep, terminal

    terminal.show_table([outcome.folder for outcome in session.outcomes])
    for remark in sweep.remarks(_columns(session)):
        log.warning("%s", remark)
    if session.sweep_folder is not None:
        _write_page(session.sweep_folder, [outcome.folder for outcome in session.outcomes])


def _write_page(sweep: Path, folders: list[Path]) -> None:
    """report.html of a sweep, beside its summary.csv."""
    from robustrun.console import show
    from robustrun.report import page

    try:
        page.write_sweep(sweep, folders)
    except Exception as error:  # a page is not worth a finished sweep
        log.warning("not made: %s (%s: %s)", sweep / "report.html", type(error).__name__, error)
    else:
        show(str(sweep / "report.html"))


def runs_of_sweep(line: Line) -> int | None:
    """How many runs `-m` makes of these words: one for each combination; None without `-m`, or
    where only Hydra knows (`glob(*)`)."""
    if not line.sweeps:
        return None
    swept = [word for word in words.parse_all(line.words) if word.is_sweep_override()]
    try:
        return math.prod(len(list(word.sweep_iterator())) for word in swept)
    except HydraException:
        return None


def request(
    session: Session, overrides: list[str], run_config: Any = None
) -> provenance.Provenance:
    """What a run of this session is started with; without a configuration, it was refused."""
    made = [word for word in overrides if words.key(words.parse(word)) != "resume"]
    elsewhere = session.line.value("--config-path") or session.line.value("--config-name")
    if run_config is None:
        return provenance.new(command=session.command)
    from robustrun.configuration.decoding import dump

    places = plugins.places(run_config)
    return provenance.new(
        command=session.command,
        overrides=None if elsewhere else made,
        folders=[str(folder) for folder in (*session.folders, *plugins.config_folders(places))],
        plugins=places,
        configuration=dump(run_config),
    )
