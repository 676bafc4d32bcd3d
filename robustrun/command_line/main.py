"""Sub-commands and Hydra in, exit code out."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version

from robustrun.command_line import options, typos
from robustrun.command_line.evaluate import evaluate
from robustrun.command_line.experiments import experiments
from robustrun.command_line.failures import DONE, explain_failure
from robustrun.command_line.resume import resume
from robustrun.command_line.sweep import Session
from robustrun.compute import interrupts

log = logging.getLogger(__name__)


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
        "list": options.print_list,
        "explain": options.print_explanation,
        "report": _report,
        "evaluate": evaluate,
        "resume": resume,
    }
    signal.signal(signal.SIGTERM, interrupts.stop)
    try:
        if arguments[:1] == ["--version"]:
            print(f"robustrun {version('robustrun')}")
            return DONE
        if arguments in (["--help"], ["-h"]):
            return options.print_help()
        if arguments and arguments[0] in commands:
            return commands[arguments[0]](arguments[1:])
        typos.require_usual(arguments)
        return experiments(arguments, Session())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except BaseException as error:
        return explain_failure(error, arguments, full_error)


def _report(arguments: list[str]) -> int:
    from robustrun.command_line import report

    return report.command(arguments)
