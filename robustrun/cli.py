"""Sub-commands and Hydra in, exit code out."""

import errno
import json
import logging
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robustrun import catalogue, compose, console, origin, plugins, words
from robustrun.compute import interrupts
from robustrun.errors import RobustrunError, RunFailure
from robustrun.storage import files
from robustrun.words import Line

DONE, FAILED, WRONG_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
USERS_ERRORS = (RobustrunError, HydraException, OmegaConfBaseException, yaml.YAMLError)
UNUSABLE_PATHS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
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


def run_command_line(arguments: list[str]) -> int:
    """Do what the words say; returns the exit code."""
    arguments = [argument.rstrip("\r") for argument in arguments]  # of a script from Windows
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then re-raises, and what is said is said here
    try:
        return _run(arguments, full_error=asked == "1")
    finally:  # a later call, or a process that this one starts, has not asked for it
        if asked is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = asked


def _run(arguments: list[str], full_error: bool) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {
        "list": catalogue.print_list,
        "explain": catalogue.print_explanation,
        "report": _report,
        "evaluate": _evaluate,
        "resume": _resume,
    }
    signal.signal(signal.SIGTERM, interrupts.stop)
    try:
        if arguments[:1] == ["--version"]:
            print(f"robustrun {version('robustrun')}")
            return DONE
        if arguments in (["--help"], ["-h"]):
            return catalogue.print_help()
        if arguments and arguments[0] in commands:
            return commands[arguments[0]](arguments[1:])
        return _experiments(arguments, Session())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except BaseException as error:
        return _explain_failure(error, arguments, full_error)


def _explain_failure(error: BaseException, arguments: list[str], full_error: bool) -> int:
    """Say on stderr what went wrong, in as many words as it deserves; returns the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else (FAILED if error.code else DONE)
    if isinstance(error, KeyboardInterrupt):
        print("robustrun: interrupted", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, interrupts.Terminated):
        print("robustrun: terminated", file=sys.stderr)
        return TERMINATED
    if full_error:
        traceback.print_exception(error)
    else:
        print(f"robustrun: {_message(error, arguments)}", file=sys.stderr)
    return _code(error)


def _code(error: BaseException) -> int:
    return WRONG_INPUT if isinstance(error, USERS_ERRORS) or _unusable(error) else FAILED


def _unusable(error: BaseException) -> bool:
    """Whether a path that the user named, or stands in, cannot be used."""
    closed = isinstance(error, OSError) and error.errno in (errno.EROFS, errno.ENAMETOOLONG)
    return closed or isinstance(error, UNUSABLE_PATHS)


def _message(error: BaseException, arguments: list[str]) -> str:
    if isinstance(error, (RobustrunError, RunFailure)) or _unusable(error):
        return str(error)
    if isinstance(error, USERS_ERRORS):
        return compose.in_plain_words(error, words.split(arguments).words)
    return "".join(traceback.format_exception(error, limit=-3)).rstrip()


def _experiments(arguments: list[str], session: Session) -> int:
    """One run or a sweep, through Hydra."""
    line = words.split(arguments)
    words.parse_all(line.words)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise RobustrunError(
            "robustrun trains in one process: start it without torchrun or mpirun."
        )
    compose.register_resolvers()
    session.command = session.command or shlex.join(["robustrun", *arguments])
    session.line, session.folders = _as_from_the_catalogue(line)
    _refuse_what_no_group_takes(words.parse_all(session.line.words), session.folders)
    sys.argv = ["robustrun", *compose.for_hydra(session.line, session.folders).arguments()]

    @hydra_main(config_path=str(compose.catalogue()), config_name="config", version_base="1.3")
    def job(composed: DictConfig) -> None:
        _one_run(composed, session)

    session.runs = compose.runs_of_sweep(session.line)
    if session.runs is None:
        job()
    else:
        with console.bar("sweep", session.runs) as session.bar:
            job()
    if session.error is not None:
        raise session.error
    return _exit_code(session)


def _as_from_the_catalogue(line: Line) -> tuple[Line, list[Path]]:
    """The line, and the folders of further options; of `--config-path RUN` the words that make the
    run's configuration from the catalogue."""
    folders = compose.named_folders(line)
    for folder in folders:
        plugins.look_in(folder)
    place = line.value("--config-path")
    if place is None or not _has_configuration(Path(place)):
        return line, folders
    from robustrun import repetition

    if not repetition.is_run(Path(place)):
        return line, folders
    line, kept, remarks = repetition.repeated_line(line)
    _remark(remarks)
    return line, list(dict.fromkeys([*folders, *kept]))


def _has_configuration(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("config.yaml", "checkpoint/origin.json"))


def _remark(remarks: Iterable[str]) -> None:
    for remark in remarks:
        print(f"robustrun: {remark}", file=sys.stderr)


def _refuse_what_no_group_takes(overrides: list[Override], folders: list[Path]) -> None:
    groups = compose.options_by_group(folder for folder in folders if folder.is_dir())
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


def _one_run(composed: DictConfig, session: Session) -> None:
    """One run of a command, from the composed configuration."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode == RunMode.MULTIRUN:
        goes_on = session.goes_on or _wants_to_go_on(composed)
        session.sweep_folder = Path(hydra.sweep.dir)
        _note_sweep(session.sweep_folder, session.line.arguments())
        _one_of_a_sweep(composed, folder, list(hydra.overrides.task), session, goes_on)
        return
    try:
        run_config = _load(composed)
        before = _begun_before(folder, run_config) if _wants_to_go_on(composed) else None
    except Exception as error:
        _remove_if_empty(folder)  # Hydra made it, and nothing has run: leave nothing behind
        session.error = error
        return
    if before is not None and before != folder:
        _remove_if_empty(folder)
    try:
        asked = _asked(session, list(hydra.overrides.task), run_config)
        _execute(run_config, before or origin.claim(folder, asked))
    except Exception as error:  # kept, because Hydra would add words of its own
        session.error = error
    except SystemExit as error:
        session.error = RunFailure(f"A part of the run called sys.exit({error.code!r}).")


def _asked(session: Session, overrides: list[str], run_config: Any = None) -> origin.Origin:
    """What a run of this session is started with; without a configuration, it was refused."""
    made = [word for word in overrides if words.key(words.parse(word)) != "resume"]
    elsewhere = session.line.value("--config-path") or session.line.value("--config-name")
    if run_config is None:
        return origin.new(command=session.command)
    from robustrun.config import dump

    places = plugins.places(run_config)
    return origin.new(
        command=session.command,
        overrides=None if elsewhere else made,
        folders=[str(folder) for folder in (*session.folders, *plugins.config_folders(places))],
        plugins=places,
        configuration=dump(run_config),
    )


def _wants_to_go_on(composed: DictConfig) -> bool:
    resume = composed.get("resume", "never")
    if resume not in ("never", "auto"):
        raise RobustrunError(f"resume is {resume!r}, but must be never or auto.")
    return bool(resume == "auto")


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # not empty: another run's
        folder.rmdir()


def _begun_before(folder: Path, run_config: Any) -> Path | None:
    """The latest unfinished run with this configuration: in `folder` itself or, if that was named
    by the time, among the runs of all days beside it."""
    from robustrun.config import dump

    plain = dump(run_config)
    if origin.taken(folder):
        return folder
    if not fnmatch(folder.parent.name, DAY):
        return None
    begun = folder.parent.parent.glob(f"{DAY}/*/{origin.FOLDER}/{origin.FILE}")
    for file in sorted(begun, reverse=True):
        if origin.goes_on(file.parents[1], plain):
            return file.parents[1]
    return None


def _note_sweep(folder: Path, arguments: list[str]) -> None:
    """Keep what `robustrun resume` needs to begin the sweep again."""
    if not (folder / SWEEP).exists():
        about = {"arguments": arguments, "directory": os.getcwd()}
        files.write_atomically(folder / SWEEP, json.dumps(about).encode())


def _one_of_a_sweep(
    composed: DictConfig, folder: Path, overrides: list[str], session: Session, goes_on: bool
) -> None:
    """Whatever goes wrong is kept for the end, and the next run starts; only signals stop it."""
    claimed = begun = goes_on and origin.taken(folder)
    outcome = Outcome(folder, overrides, DONE)
    session.outcomes.append(outcome)
    log.info("%s%s: %s", session.place, session.left, " ".join(overrides))
    if session.bar is not None:
        session.bar.advance(0, f"{session.place}: {' '.join(overrides)}", images=0)
    try:
        if begun and _completed(folder):
            return
        run_config = _load(composed)
        if not begun:
            outcome.folder = origin.claim(folder, _asked(session, overrides, run_config))
        claimed = True
        _execute(run_config, outcome.folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | interrupts.Terminated):
            outcome.code = INTERRUPTED
            raise
        outcome.code = _code(error)
        outcome.message = _message(error, overrides)
        if not claimed:
            outcome.folder = origin.claim(folder, _asked(session, overrides))
        log.error("run %s failed: %s", outcome.folder.name, outcome.message)
        _record_refusal(composed, outcome)
    finally:
        _summarise(session)
        if session.bar is not None:
            session.bar.advance(1, images=0)


def _completed(folder: Path) -> bool:
    return origin.status(folder) == "completed"


def _load(composed: DictConfig) -> Any:
    """The checked configuration. Imports torch: everything before this is quick."""
    from robustrun.config import left_out, load_config

    raw = compose.with_options(composed, HydraConfig.get())
    loaded = load_config(raw)
    for remark in left_out(raw).values():
        log.warning(remark)
    return loaded


def _execute(run_config: Any, folder: Path, source: Path | None = None) -> None:
    """The run, or the evaluation of what is at `source`, or what is left of it."""
    from robustrun import dispatch
    from robustrun.console import logging_to
    from robustrun.report import terminal

    with logging_to(folder / origin.RUN_LOG):
        if source is None:
            result = dispatch.run(run_config, folder)
        else:
            result = dispatch.run_again(run_config, folder, source)
        terminal.show_run(result.results, folder)


def _record_refusal(composed: DictConfig, outcome: Outcome) -> None:
    """A run of a sweep whose configuration was refused leaves a results.json, too."""
    from robustrun import results

    if not (outcome.folder / "results.json").exists():
        raw = OmegaConf.to_container(composed, resolve=False)
        results.write_refusal(outcome.folder, raw, outcome.message)


MEASURED_WITH = ("attack", "evaluation", "device", "tracker")  # nothing of a training
SWEEP = "sweep.json"
SET_BY_US = ("hydra.sweep.dir", "hydra.searchpath")  # of a sweep that is resumed
DAY = "????-??-??"  # the folder of a day's runs


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


def _resume(arguments: list[str]) -> int:
    """`robustrun resume RUN`"""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        raise RobustrunError(
            f"robustrun resume takes the folder of one run or sweep, not {' '.join(arguments)!r}."
        )
    folder = Path(arguments[0]).resolve()
    if (folder / SWEEP).is_file():
        return _resume_sweep(folder)
    from robustrun import console
    from robustrun.config import load_config
    from robustrun.finished import configuration
    from robustrun.report import terminal

    about = origin.read(folder)
    if origin.status(folder) == "completed":
        terminal.show_run(json.loads((folder / "results.json").read_text()), folder)
        return DONE
    logging.basicConfig(level=logging.INFO, handlers=[console.handler()])
    if Path(about.directory).is_dir():
        os.chdir(about.directory)  # where relative paths begin
    run_config = load_config(configuration(folder))
    _execute(run_config, folder, Path(about.source) if about.source else None)
    return DONE


def _resume_sweep(folder: Path) -> int:
    """Go through the whole sweep again, past what is finished."""
    about = json.loads((folder / SWEEP).read_text())
    if Path(about["directory"]).is_dir():
        os.chdir(about["directory"])
    line = words.split(about["arguments"])
    others = [word for word in line.words if words.key(words.parse(word)) not in SET_BY_US]
    here = f"hydra.sweep.dir={words.quoted(str(folder))}"
    return _experiments(replace(line, words=(here, *others)).arguments(), Session(goes_on=True))


def _exit_code(session: Session) -> int:
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


def _evaluate(arguments: list[str]) -> int:
    """`robustrun evaluate RUN_OR_WEIGHTS [OVERRIDE ...]`"""
    if not arguments or ("=" in arguments[0] and not Path(arguments[0]).exists()):
        raise RobustrunError(
            "robustrun evaluate takes a finished run's folder or a file of weights, then overrides."
        )
    source, line = Path(arguments[0]), words.split(arguments[1:])
    if not source.exists():
        raise RobustrunError(f"{source} does not exist.")
    if other := [name for name, _ in line.flags if name != "--config-dir"]:
        raise RobustrunError(f"robustrun evaluate takes no {other[0]}: one run or file at a time.")
    from robustrun import console
    from robustrun.config import dump, left_out, load_config

    logging.basicConfig(level=logging.INFO, handlers=[console.handler()])
    raw = _to_measure(source, line)
    run_config = load_config(raw)
    remarks = left_out(raw).items()
    _remark(said for key, said in remarks if key.startswith("evaluation."))
    now = datetime.now()
    measured = run_config.name_of("method") if source.is_dir() else source.stem
    names = re.sub(r"[^\w.-]+", "_", f"evaluate_{measured}_{run_config.name_of('dataset')}")
    folder = Path("outputs", f"{now:%Y-%m-%d}", f"{now:%H-%M-%S-%f}_{names}").resolve()
    about = origin.new(
        source,
        shlex.join(["robustrun", "evaluate", *arguments]),
        folders=[str(place) for place in compose.named_folders(line)],
        plugins=plugins.places(run_config),
        configuration=dump(run_config),
    )
    _execute(run_config, origin.claim(folder, about), source)
    return DONE


def _to_measure(source: Path, line: Line) -> dict[str, Any]:
    """The configuration of an evaluation of a finished run, or of a file of weights."""
    from robustrun import repetition
    from robustrun.finished import raw_config
    from robustrun.models import program

    folders = compose.named_folders(line)
    for folder in folders:
        plugins.look_in(folder)
    if source.is_dir():
        raw_config(source)
        raw, remarks = repetition.measured_again(source, line)
        _remark(remarks)
        return raw
    file = words.quoted(str(source.absolute()))
    more = ["model=program", f"model.file={file}"] if program.kind(source) else []
    return _trained_as_may_be([*more, *line.words], folders)


def _trained_as_may_be(given: list[str], folders: list[Path]) -> dict[str, Any]:
    """The configuration for measuring a file: how it was trained is not known, and nothing of
    that follows the attack that it is measured with."""
    raw = compose.compose_raw(given, folders)
    typed = [words.parse(word) for word in given]
    others = [str(word.input_line) for word in typed if words.group(word) not in MEASURED_WITH]
    before = compose.compose_raw(others, folders)
    return raw | {name: before[name] for name in ("method", "training", "recipe")}


def _report(arguments: list[str]) -> int:
    from robustrun.report import command

    return command.command(arguments)
