"""A sweep as its driver has it: opened, told by its runs' folders, closed.

The driver is the process that was started; a launcher may do the runs in others. Whatever these
know of each other lies in the sweep's folder.
"""

import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from robustrun.command_line.exit_codes import DONE, FAILED
from robustrun.command_line.failures import note_how_to_continue, print_remarks
from robustrun.command_line.session import CURRENT, SWEEP, Session, about
from robustrun.command_line.sweep_folder import (
    KILLED,
    SweptRun,
    absent,
    columns,
    run_folders,
    runs_in,
    swept_run,
)
from robustrun.command_line.sweep_worker import number_of, place
from robustrun.compute import interrupts
from robustrun.configuration import words
from robustrun.configuration.words import Line
from robustrun.console import show, step
from robustrun.errors import ConfigError, RobustrunError
from robustrun.storage import files

IN_DRIVER = f"+hydra.callbacks.robustrun._target_={__name__}.InDriver"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
OUR_SWEEPER = "hydra_plugins.robustrun.Sweeper"  # the same words and settings
MOST_NAMED = 20  # runs in what is said at the end
log = logging.getLogger(__name__)


@contextmanager
def driven(session: Session) -> Iterator[None]:
    """In this context, this process drives the runs of `session`. However a sweep ends, its
    summary has every run that began; a launcher's own exception is told, and the sweep is closed
    as the folders of its runs tell it."""
    token = CURRENT.set(session)
    try:
        yield
    except BaseException as error:
        runs = [] if session.sweep_folder is None else runs_in(session.sweep_folder)
        if session.sweep_folder is not None and runs:
            _summarise(session.sweep_folder, runs)
        if isinstance(error, interrupts.STOPPED) and session.sweep_folder is not None:
            note_how_to_continue(error, session.sweep_folder)
        if not runs and isinstance(error, Exception):
            _forget(session)
        if not runs or not isinstance(error, Exception) or isinstance(error, RobustrunError):
            raise
        session.broken = True
        text = " ".join(str(error).split())
        print_remarks([f"the launcher failed: {type(error).__name__}: {text}"])
    finally:
        CURRENT.reset(token)


def _forget(session: Session) -> None:
    """Leave nothing of a sweep whose words were refused before its first run."""
    if session.sweep_folder in session.new_folders:
        (session.sweep_folder / SWEEP).unlink(missing_ok=True)
        session.leave_nothing()


class InDriver(Callback):
    """What Hydra's launchers tell the driver; in other processes it does nothing."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if (session := CURRENT.get()) is not None:
            HydraConfig.instance().set_config(config)  # which the name of the folder is made from
            session.new_folders = _missing(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if (session := CURRENT.get()) is None:
            return
        if config.hydra.sweeper._target_ != BASIC_SWEEPER:
            session.runs = None  # only that one's words tell how many
        try:
            _open(session, config)
        except Exception as error:  # Hydra would make a warning of it
            session.refusal = error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        session = CURRENT.get()
        if session is not None and session.bar is not None:
            given = " ".join(config.hydra.overrides.task)
            session.bar.advance(0, f"{place(number_of(config.hydra), session)}: {given}")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        session = CURRENT.get()
        if session is not None and session.sweep_folder is not None:
            _add_row(session)
            if session.bar is not None:
                session.bar.advance(1)


def _missing(folder: Path) -> list[Path]:
    """Of a folder and those that it lies in, the ones that do not exist, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def _open(session: Session, config: DictConfig) -> None:
    """Claim the sweep's folder, or a sibling with a number if another sweep has it, and note there
    what its runs, and `robustrun resume`, need to know."""
    asked = Path(config.hydra.sweep.dir).absolute()
    content = about(session, os.getcwd())
    if session.continues:
        folder, session.new_folders = asked, _missing(asked)
        _continue(session, folder, content)
    else:
        folder = _claim(session, asked, files.json_bytes(content))
    session.sweep_folder = folder
    word = f"hydra.sweep.dir={words.quoted(str(folder))}"
    with read_write(config), open_dict(config):  # what launchers compose each run from
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra.append(word)
        if config.hydra.sweeper._target_ == BASIC_SWEEPER:
            config.hydra.sweeper._target_ = OUR_SWEEPER
    print_remarks([f"the runs of this sweep are written to {folder}"])


def _continue(session: Session, folder: Path, content: dict[str, Any]) -> None:
    """Note what is asked for now; where `robustrun resume` is used, what was typed first stays."""
    if session.resumes:
        content = json.loads((folder / SWEEP).read_bytes()) | {
            key: content[key] for key in ("folders", "resumes", "runs")
        }
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / SWEEP, content)


def _claim(session: Session, asked: Path, content: bytes) -> Path:
    for folder in (asked, *(asked.with_name(f"{asked.name}-{n}") for n in range(2, 1000))):
        session.new_folders = _missing(folder)
        if folder.is_dir() and run_folders(folder):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if files.create_atomically(folder / SWEEP, content):
            return folder
    raise ConfigError(f"Every folder from {asked} to {folder} belongs to another sweep.")


def _add_row(session: Session) -> None:
    """summary.csv with the run that has just ended: what earlier runs left is not read again."""
    from robustrun.report.summary import SweepSummary

    assert session.sweep_folder is not None
    if session.summary is None:
        session.summary = SweepSummary(session.sweep_folder)
        runs = runs_in(session.sweep_folder)
    else:
        runs = [] if session.latest is None else [swept_run(session.latest)]
    for folder, settings in columns(runs):
        session.summary.add(folder, settings)
    session.summary.write()


def _summarise(sweep: Path, runs: list[SweptRun]) -> None:
    from robustrun.report import study, summary

    marks = study.marks(sweep)
    marked = [(run, own | marks.get(str(run.relative_to(sweep)), {})) for run, own in columns(runs)]
    summary.write_sweep(sweep, marked)


def close_sweep(session: Session) -> int:
    """Close a sweep, as the folders of its runs tell it: its table, then what failed. Raises why
    its folder could not be used."""
    if session.refusal is not None:
        raise session.refusal
    if session.sweep_folder is None:
        return DONE
    with step("gathering the runs of the sweep"):
        runs = runs_in(session.sweep_folder)
        _summarise(session.sweep_folder, runs)
    _show_sweep(session.sweep_folder, runs)
    failed = [run for run in runs if run.status != "completed"]
    print_remarks(_first(f"{r.folder} ({' '.join(r.words)}) {r.status}: {r.error}" for r in failed))
    missing = _missing_runs(session, runs)
    print_remarks(_first(missing))
    if failed or missing:
        count = f"{len(failed) + len(missing)} of {len(runs) + len(missing)}"
        print_remarks([f"{count} runs of this sweep failed"])
    return FAILED if failed or missing or session.broken else DONE


def _first(remarks: Iterable[str]) -> list[str]:
    """The first of them, and how many more there are."""
    given = [*remarks]
    more = len(given) - MOST_NAMED
    return given[:MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])


def _missing_runs(session: Session, runs: list[SweptRun]) -> list[str]:
    """What is said of each run of a sweep that left no folder."""
    if session.expected:
        lost = absent(session, runs)
        why = {number: f"never began: {text}" for number, text in session.reasons.items()}
        killed = f"killed: {KILLED}"
        return [f"run {r.number} ({' '.join(r.words)}) {why.get(r.number, killed)}" for r in lost]
    count = max((session.runs or 0) - len(runs), 0)
    return [f"one run killed: {KILLED}"] * count


def _show_sweep(sweep: Path, runs: list[SweptRun]) -> None:
    from robustrun.report import study, terminal
    from robustrun.report import sweep as remarks

    terminal.show_table([run.folder for run in runs])
    for remark in remarks.remarks(columns(runs)):
        log.warning("%s", remark)
    if (search := study.read(sweep)) is not None:
        show(*study.findings(search))
    _write_page(sweep, [run.folder for run in runs])


def _write_page(sweep: Path, folders: list[Path]) -> None:
    """report.html of a sweep, beside its summary.csv."""
    from robustrun.report import page

    try:
        with step("writing the page of the sweep"):
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
    typed = words.parse_all(line.words)
    if any(words.key(word) == "hydra/sweeper" for word in typed):
        return None  # which decides it
    swept = [word for word in typed if word.is_sweep_override()]
    try:
        return math.prod(len(list(word.sweep_iterator())) for word in swept)
    except HydraException:
        return None
