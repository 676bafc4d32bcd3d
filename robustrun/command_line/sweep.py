"""A sweep: what its driver keeps, one run of it, and its end, told by the folders of its runs.

The driver is the process that was started; a launcher may do the runs in others. Whatever these
know of each other lies in the sweep's folder.
"""

import json
import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from robustrun.command_line.execute import load_composed, run_and_show
from robustrun.command_line.failures import (
    DONE,
    FAILED,
    message_of,
    note_how_to_continue,
    print_remarks,
)
from robustrun.compute import interrupts
from robustrun.configuration import plugins, words
from robustrun.configuration.words import Line
from robustrun.console import show
from robustrun.errors import ConfigError
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import FILE, FOLDER, locked
from robustrun.run_folder.schema import RunRecord, read_record
from robustrun.storage import files

SWEEP = "sweep.json"
IN_DRIVER = f"+hydra.callbacks.robustrun._target_={__name__}.InDriver"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
log = logging.getLogger(__name__)


@dataclass
class Session:
    """One command: what was asked for and, in the driver, how far it is."""

    line: Line = field(default_factory=lambda: words.split([]))  # what was typed
    folders: list[Path] = field(default_factory=list)  # of options, beside the catalogue
    command: str = ""  # as it was typed
    resumes: bool = False  # what is finished in its folder is not done again
    runs: int | None = None  # of a sweep, where it is known
    error: BaseException | None = None  # of a single run
    sweep_folder: Path | None = None
    earlier: frozenset[Path] = frozenset()  # runs that were in the sweep's folder before
    bar: Any = None  # of a sweep
    latest: Path | None = None  # the run that this process did last
    summary: Any = None  # summary.csv so far
    broken: bool = False  # a sweep's launcher failed
    new_folders: list[Path] = field(default_factory=list)  # that were not there before

    def leave_nothing(self) -> None:
        """Remove the folders that were made for what is refused, unless something is in them."""
        with suppress(OSError):
            for folder in self.new_folders:
                folder.rmdir()

    @property
    def continues(self) -> bool:
        """Whether runs that are in the sweep's folder already are runs of this sweep."""
        typed = [words.parse(word) for word in self.line.words]
        auto = [o for o in typed if words.key(o) == "resume" and o.value() == "auto"]
        return self.resumes or bool(auto)

    @property
    def left(self) -> str:
        """The time that the rest of a sweep will take, once a run is done."""
        return f" ({self.bar.left} left)" if self.bar and self.bar.done else ""


CURRENT: ContextVar[Session | None] = ContextVar("session", default=None)  # set in the driver


@contextmanager
def driven(session: Session) -> Iterator[None]:
    """In this context, this process drives the runs of `session`. However a sweep ends, its
    summary has every run that began; a launcher's own exception is told, and the sweep is closed
    as the folders of its runs tell it."""
    token = CURRENT.set(session)
    try:
        yield
    except BaseException as error:
        runs = [] if session.sweep_folder is None else _runs_of(session)
        if session.sweep_folder is not None and runs:
            _summarise(session.sweep_folder, runs)
        if isinstance(error, interrupts.STOPPED) and session.sweep_folder is not None:
            note_how_to_continue(error, session.sweep_folder)
        if not runs and isinstance(error, Exception):
            _forget(session)
        if not runs or not isinstance(error, Exception):
            raise
        session.broken = True
        text = " ".join(str(error).split())
        print(f"robustrun: the launcher failed: {type(error).__name__}: {text}", file=sys.stderr)
    finally:
        CURRENT.reset(token)


def _forget(session: Session) -> None:
    """Leave nothing of a sweep whose words were refused before its first run."""
    if session.sweep_folder in session.new_folders:
        (session.sweep_folder / SWEEP).unlink(missing_ok=True)
        session.leave_nothing()


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep, as its folder tells."""

    folder: Path
    words: list[str]  # that it was given
    status: str  # completed, failed, interrupted; without a result killed, or running elsewhere
    error: str


class InDriver(Callback):
    """What Hydra's launchers tell the driver; in other processes it does nothing."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if (session := CURRENT.get()) is not None:
            HydraConfig.instance().set_config(config)  # which the name of the folder is made from
            session.new_folders = _missing(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if (session := CURRENT.get()) is not None:
            if config.hydra.sweeper._target_ != BASIC_SWEEPER:
                session.runs = None  # only that sweeper knows
            _open(session, Path(config.hydra.sweep.dir))

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        session = CURRENT.get()
        if session is not None and session.bar is not None:
            given = " ".join(config.hydra.overrides.task)
            session.bar.advance(0, f"{_place(config.hydra.job.num, session)}: {given}")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        session = CURRENT.get()
        if session is not None and session.sweep_folder is not None:
            _add_row(session)
            if session.bar is not None:
                session.bar.advance(1)


def _missing(folder: Path) -> list[Path]:
    """Of a folder and those that it lies in, the ones that do not exist, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def _place(number: int, session: Session) -> str:
    """Where a sweep is: `run 7 of 24`."""
    return f"run {number + 1}" + (f" of {session.runs}" if session.runs else "")


def _open(session: Session, folder: Path) -> None:
    """Note in the sweep's folder what its runs, and `robustrun resume`, need to know."""
    session.sweep_folder, session.new_folders = folder, _missing(folder)
    session.earlier = frozenset() if session.continues else frozenset(_run_folders(folder))
    about: dict[str, Any] = {
        "arguments": session.line.arguments(),
        "directory": os.getcwd(),
        "command": session.command,
    }
    if session.resumes:  # what was typed first stays
        about |= json.loads((folder / SWEEP).read_bytes())
    about |= {"folders": [str(f) for f in session.folders]}
    about |= {"resumes": session.resumes, "runs": session.runs}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / SWEEP, about)
    print_remarks([f"the runs of this sweep are written to {folder.absolute()}"])


def _session_of(folder: Path) -> Session:
    """What the driver of the sweep in `folder` was asked for."""
    about = json.loads((folder / SWEEP).read_bytes())
    places = [Path(place) for place in about["folders"]]
    line = words.split(about["arguments"])
    return Session(line, places, about["command"], about["resumes"], about["runs"])


def run_one_of_sweep(composed: DictConfig, resumes: bool) -> float | None:
    """Whatever goes wrong is kept in the run's folder, and the next run starts; only signals stop
    the sweep. Returns what sweepers that search maximise: the run's selection metric."""
    hydra = HydraConfig.get()
    folder, overrides = Path(hydra.runtime.output_dir), list(hydra.overrides.task)
    session = _session_of(Path(hydra.sweep.dir))
    driver = CURRENT.get()
    log.info(
        "%s%s: %s",
        _place(hydra.job.num, session),
        driver.left if driver else "",
        " ".join(overrides),
    )
    claimed = begun = (resumes or session.resumes) and provenance.taken(folder)
    try:
        if begun and provenance.status(folder) == "completed":
            return _selection_metric(read_record(folder))
        run_config = load_composed(composed, session.folders)
        if not begun:
            folder = provenance.claim(folder, request(session, overrides, run_config))
        claimed = True
        return _selection_metric(run_and_show(run_config, folder))
    except BaseException as error:
        if isinstance(error, interrupts.STOPPED):
            raise
        message = message_of(error, overrides)
        if not claimed:
            folder = provenance.claim(folder, request(session, overrides))
        log.error("run %s failed: %s", folder.name, message)
        _record_failure(composed, folder, message)
        return None
    finally:
        if driver is not None:
            driver.latest = folder


def _add_row(session: Session) -> None:
    """summary.csv with the run that has just ended: what earlier runs left is not read again."""
    from robustrun.report.summary import SweepSummary

    assert session.sweep_folder is not None
    if session.summary is None:
        session.summary = SweepSummary(session.sweep_folder)
        runs = _runs_of(session)
    else:
        runs = [] if session.latest is None else [_swept_run(session.latest)]
    for folder, settings in _columns(runs):
        session.summary.add(folder, settings)
    session.summary.write()


def _selection_metric(record: RunRecord) -> float | None:
    """Robust accuracy on the validation split, else clean, of the weights that a run kept."""
    best = record.training.best if record.training else None
    if best is None:
        return None
    robust, clean = best.validation_robust_accuracy, best.validation_clean_accuracy
    return clean if robust is None else robust


def _record_failure(composed: DictConfig, folder: Path, message: str) -> None:
    """A run of a sweep whose configuration was refused leaves a results.json, too; but nothing is
    written where another process works on the run, or has finished it."""
    from robustrun.run_folder import artefacts

    with suppress(ConfigError), locked(folder):
        if not provenance.status(folder):
            raw = OmegaConf.to_container(composed, resolve=False)
            artefacts.write_refusal(folder, raw, message)


def _run_folders(sweep: Path) -> list[Path]:
    """The folders of runs below a sweep's, in the order of their numbers; what is in a run's own is
    not looked at."""
    folders = []
    for place, below, _ in os.walk(sweep):
        if Path(place, FOLDER, FILE).is_file():
            folders.append(Path(place))
            below.clear()
    return sorted(folders, key=lambda folder: [_number(part) for part in folder.parts])


def _number(part: str) -> tuple[float, str]:
    """Sorts 2 before 10, and 3-2 behind 3."""
    head = part.partition("-")[0]
    return (float(head) if head.isdigit() else math.inf, part)


def _runs_of(session: Session) -> list[SweptRun]:
    assert session.sweep_folder is not None
    return [
        _swept_run(folder)
        for folder in _run_folders(session.sweep_folder)
        if folder not in session.earlier
    ]


def _swept_run(folder: Path) -> SweptRun:
    about = provenance.read(folder)
    status, error = provenance.outcome(folder)
    if not status:
        status, error = _without_result(folder)
    return SweptRun(folder, about.swept or about.overrides or [], status, error)


def _without_result(folder: Path) -> tuple[str, str]:
    """What became of a run that has no results.json."""
    try:
        with locked(folder):
            return "killed", "the run left no result: it was killed, or its process ended"
    except ConfigError:
        return "running", "another process works on it"


def _summarise(sweep: Path, runs: list[SweptRun]) -> None:
    from robustrun.report import study, summary

    marks = study.marks(sweep)
    columns = [
        (run, own | marks.get(str(run.relative_to(sweep)), {})) for run, own in _columns(runs)
    ]
    summary.write_sweep(sweep, columns)


def _columns(runs: list[SweptRun]) -> list[tuple[Path, dict[str, str]]]:
    """Each run's folder, and what the words of its sweep set in it."""
    return [(run.folder, _settings(run.words)) for run in runs]


def _settings(overrides: list[str]) -> dict[str, str]:
    """What a run's overrides give to its row of summary.csv."""
    typed = [words.parse(word) for word in overrides]
    return {words.key(o): words.value_text(o) for o in typed if words.key(o) != "resume"}


def close_sweep(session: Session) -> int:
    """Close a sweep, as the folders of its runs tell it: its table, then what failed."""
    if session.sweep_folder is None:
        return DONE
    runs = _runs_of(session)
    _summarise(session.sweep_folder, runs)
    _show_sweep(session.sweep_folder, runs)
    failed = [run for run in runs if run.status != "completed"]
    for run in failed:
        given = " ".join(run.words)
        print(f"robustrun: {run.folder} ({given}) {run.status}: {run.error}", file=sys.stderr)
    missing = max((session.runs or 0) - len(runs), 0)
    if missing:
        print(f"robustrun: never begun: {missing} runs of this sweep", file=sys.stderr)
    if failed or missing:
        count = f"{len(failed) + missing} of {len(runs) + missing}"
        print(f"robustrun: {count} runs of this sweep failed", file=sys.stderr)
    return FAILED if failed or missing or session.broken else DONE


def _show_sweep(sweep: Path, runs: list[SweptRun]) -> None:
    from robustrun.report import study, terminal
    from robustrun.report import sweep as remarks

    terminal.show_table([run.folder for run in runs])
    for remark in remarks.remarks(_columns(runs)):
        log.warning("%s", remark)
    if (search := study.read(sweep)) is not None:
        show(*study.findings(search))
    _write_page(sweep, [run.folder for run in runs])


def _write_page(sweep: Path, folders: list[Path]) -> None:
    """report.html of a sweep, beside its summary.csv."""
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
    typed = words.parse_all(line.words)
    if any(words.key(word) == "hydra/sweeper" for word in typed):
        return None  # which decides it
    swept = [word for word in typed if word.is_sweep_override()]
    try:
        return math.prod(len(list(word.sweep_iterator())) for word in swept)
    except HydraException:
        return None


def request(
    session: Session, overrides: list[str], run_config: Any = None
) -> provenance.Provenance:
    """What a run of this session is started with; without a configuration, it was refused."""
    given = [word for word in overrides if words.key(words.parse(word)) != "resume"]
    swept = given if session.line.sweeps else []
    elsewhere = session.line.value("--config-path") or session.line.value("--config-name")
    if run_config is None:
        return provenance.new(command=session.command, swept=swept)
    from robustrun.configuration.decoding import dump

    places = plugins.places(run_config)
    return provenance.new(
        command=session.command,
        overrides=None if elsewhere else given,
        swept=swept,
        folders=[str(folder) for folder in (*session.folders, *plugins.config_folders(places))],
        plugins=places,
        configuration=dump(run_config),
    )
