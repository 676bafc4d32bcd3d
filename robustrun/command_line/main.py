"""Sub-commands and Hydra in, exit code out."""

import os
from collections.abc import Callable
from importlib.metadata import version

from robustrun.command_line import options, process, typos
from robustrun.command_line.evaluate import evaluate
from robustrun.command_line.experiments import experiments
from robustrun.command_line.failures import DONE, explain_failure
from robustrun.command_line.resume import resume
from robustrun.command_line.session import Session
from robustrun.compute import place


def run_command_line(arguments: list[str]) -> int:
    """Do what the words say; returns the exit code.

    Called from a program of one's own, it leaves signal handlers, environment, working folder,
    `sys.argv`, `sys.path`, the root logger and Hydra as they were. It does not put back what
    `robustrun.run` changes (see there), nor what is imported: modules of plugins stay, with what
    they register.
    """
    arguments = [argument.rstrip("\r") for argument in arguments]  # of a script from Windows
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    with process.left_as_before():  # Hydra then re-raises, and what is said is said here
        return _in_its_place(lambda: _run(arguments, full_error), arguments, full_error)


def _in_its_place(command: Callable[[], int], arguments: list[str], full_error: bool) -> int:
    """The command; started as one of several processes, together with the others."""
    try:
        here = place.place(os.environ)
        if here is None:
            return command()
        from robustrun.command_line.together import run_together

        return run_together(here, command)
    except BaseException as error:
        return explain_failure(error, arguments, full_error)


def _run(arguments: list[str], full_error: bool) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {
        "list": options.print_list,
        "explain": options.print_explanation,
        "report": _report,
        "evaluate": evaluate,
        "resume": resume,
    }
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
        return DONE  # whoever read has enough
    except BaseException as error:
        return explain_failure(error, arguments, full_error)


def _report(arguments: list[str]) -> int:
    from robustrun.command_line import report

    return report.command(arguments)
