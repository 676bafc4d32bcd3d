"""Sub-commands and Hydra in, exit code out."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robustrun import catalogue, compose
from robustrun.errors import RobustrunError, RunFailure

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
    error: BaseException | None = None  # of a single run
    outcomes: list[Outcome] = field(default_factory=list)


def run_command_line(arguments: list[str]) -> int:
    """Do what the words say; returns the exit code."""
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
    }
    signal.signal(signal.SIGTERM, _terminated)
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


class Terminated(BaseException):
    """SIGTERM arrived, as from a scheduler that wants the machine back."""


def _terminated(number: int, frame: Any) -> None:
    raise Terminated


def _explain_failure(error: BaseException, arguments: list[str], full_error: bool) -> int:
    """Say on stderr what went wrong, in as many words as it deserves; returns the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else (FAILED if error.code else DONE)
    if isinstance(error, KeyboardInterrupt):
        print("robustrun: interrupted", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, Terminated):
        print("robustrun: terminated", file=sys.stderr)
        return TERMINATED
    if full_error:
        traceback.print_exception(error)
    else:
        print(f"robustrun: {_message(error, arguments)}", file=sys.stderr)
    return _code(error)


def _code(error: BaseException) -> int:
    return WRONG_INPUT if isinstance(error, (*USERS_ERRORS, *UNUSABLE_PATHS)) else FAILED


def _message(error: BaseException, arguments: list[str]) -> str:
    if isinstance(error, (RobustrunError, RunFailure, *UNUSABLE_PATHS)):
        return str(error)
    if isinstance(error, USERS_ERRORS):
        return compose.in_plain_words(
            error, [word for word in arguments if not word.startswith("-")]
        )
    return "".join(traceback.format_exception(error, limit=-3)).rstrip()


def _experiments(arguments: list[str], session: Session) -> int:
    """One run or a sweep, through Hydra."""
    _refuse_what_no_group_takes(arguments)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise RobustrunError(
            "robustrun trains in one process: start it without torchrun or mpirun."
        )
    compose.register_resolvers()
    sys.argv = ["robustrun", *arguments, *compose.further_overrides(arguments)]

    @hydra_main(config_path=str(compose.catalogue()), config_name="config", version_base="1.3")
    def job(composed: DictConfig) -> None:
        _one_run(composed, session)

    job()
    if session.error is not None:
        raise session.error
    return _exit_code(session)


def _refuse_what_no_group_takes(arguments: list[str]) -> None:
    groups = compose.groups()
    for word in arguments:
        group, _, value = word.partition("=")
        if group.lstrip("+") not in groups:
            continue
        if value == "null":
            options = ", ".join(groups[group.lstrip("+")])
            raise RobustrunError(f"{word}: a run needs one {group}. Known: {options}.")
        if value.startswith("["):
            first = value.strip("[]").partition(",")[0]
            raise RobustrunError(
                f"{word}: a run has one {group}; Hydra would merge these and the last would win. "
                f"Choose one ({group}={first}), or sweep over them with "
                f"-m {group}={value.strip('[]')}. To measure with more attacks, add "
                f"+{group}@evaluation.attacks.NAME={first}."
            )


def _one_run(composed: DictConfig, session: Session) -> None:
    """One run of a command, from the composed configuration."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode == RunMode.MULTIRUN:
        session.sweep_folder = Path(hydra.sweep.dir)
        _one_of_a_sweep(composed, folder, list(hydra.overrides.task), session)
        return
    try:
        run_config = _load(composed)
    except Exception as error:
        with suppress(OSError):  # not empty: another run's
            folder.rmdir()  # Hydra made it, and nothing has run: leave nothing behind
        session.error = error
        return
    try:
        _execute(run_config, claim(folder))
    except Exception as error:  # kept, because Hydra would add words of its own
        session.error = error
    except SystemExit as error:
        session.error = RunFailure(f"A part of the run called sys.exit({error.code!r}).")


def _one_of_a_sweep(
    composed: DictConfig, folder: Path, overrides: list[str], session: Session
) -> None:
    """Whatever goes wrong is kept for the end, and the next run starts; only signals stop it."""
    outcome = Outcome(claim(folder), overrides, DONE)
    log.info("run %s: %s", outcome.folder.name, " ".join(overrides))
    session.outcomes.append(outcome)
    try:
        _execute(_load(composed), outcome.folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | Terminated):
            outcome.code = INTERRUPTED
            raise
        outcome.code = _code(error)
        outcome.message = _message(error, overrides)
        log.error("run %s failed: %s", outcome.folder.name, outcome.message)
        _record_refusal(composed, outcome)
    finally:
        _summarise(session)


def _load(composed: DictConfig) -> Any:
    """The checked configuration. Imports torch: everything before this is quick."""
    from robustrun import config

    return config.load(compose.plain(composed))


def _execute(run_config: Any, folder: Path) -> None:
    from robustrun import dispatch
    from robustrun.console import logging_to
    from robustrun.report import terminal

    with logging_to(folder / RUN_LOG):
        result = dispatch.run(run_config, folder)
        terminal.show_run(result.results, folder)


def _record_refusal(composed: DictConfig, outcome: Outcome) -> None:
    """A run of a sweep whose configuration was refused leaves a results.json, too."""
    from robustrun import results

    if not (outcome.folder / "results.json").exists():
        raw = OmegaConf.to_container(composed, resolve=False)
        results.write_refusal(outcome.folder, raw, outcome.message)


RUN_LOG = "run.log"


def claim(folder: Path) -> Path:
    """Make `folder` this run's own, or a sibling with a number if another run has it already."""
    candidates = [folder, *(folder.with_name(f"{folder.name}-{n}") for n in range(2, 1000))]
    for candidate in candidates:
        candidate.mkdir(parents=True, exist_ok=True)
        try:
            (candidate / RUN_LOG).open("x").close()
            return candidate
        except FileExistsError:
            continue
    raise RobustrunError(f"Every folder from {folder} to {candidates[-1]} belongs to another run.")


def _summarise(session: Session) -> None:
    from robustrun.report import summary

    runs = [
        (outcome.folder, dict(_split(word) for word in outcome.overrides))
        for outcome in session.outcomes
    ]
    if session.sweep_folder is not None:
        summary.write_sweep(session.sweep_folder, runs)


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+~"), value


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
    from robustrun.report import terminal

    terminal.show_table([outcome.folder for outcome in session.outcomes])


def _evaluate(arguments: list[str]) -> int:
    """`robustrun evaluate RUN_OR_WEIGHTS [OVERRIDE ...]`"""
    if not arguments or "=" in arguments[0]:
        raise RobustrunError(
            "robustrun evaluate takes a finished run's folder or a file of weights, then overrides."
        )
    source, overrides = Path(arguments[0]), arguments[1:]
    if not source.exists():
        raise RobustrunError(f"{source} does not exist.")
    from robustrun import config, console, dispatch, finished
    from robustrun.models import program
    from robustrun.report import terminal

    if program.kind(source):
        overrides = ["model=program", f"model.file='{source}'", *overrides]
    base = finished.raw_config(source) if source.is_dir() else None
    raw = compose.compose_raw(overrides) if base is None else compose.compose_over(base, overrides)
    run_config = config.load(raw)
    logging.basicConfig(level=logging.INFO, handlers=[console.handler()])
    now = datetime.now()
    trained = raw["method" if source.is_dir() else "model"]["name"]
    names = f"evaluate_{trained}_{raw['dataset']['name']}"
    folder = claim(Path("outputs", f"{now:%Y-%m-%d}", f"{now:%H-%M-%S-%f}_{names}").resolve())
    with console.logging_to(folder / RUN_LOG):
        result = dispatch.run_again(run_config, folder, source)
        terminal.show_run(result.results, folder)
    return DONE


def _report(arguments: list[str]) -> int:
    from robustrun.report import terminal

    return terminal.command(arguments)
