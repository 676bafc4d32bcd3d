"""Sub-commands and Hydra in, exit code out.

Each command imports what it needs when it is chosen: `--help` and `--version` need no Hydra, which
takes 0.2 s to import.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version

from robustrun.command_line import damage, process
from robustrun.command_line.commands import COMMANDS
from robustrun.command_line.exit_codes import DONE, FAILED
from robustrun.command_line.stopping import explain_stop, stopped
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
        return _explained(error, arguments, full_error)


def _run(arguments: list[str], full_error: bool) -> int:
    try:
        return _command(arguments)
    except BrokenPipeError:
        return DONE  # whoever read has enough
    except BaseException as error:
        return _explained(error, arguments, full_error)


def _explained(error: BaseException, arguments: list[str], full_error: bool) -> int:
    if stopped(error):
        return explain_stop(error)
    if not full_error and (words := damage.in_words(error)):
        print(f"robustrun: {words}", file=sys.stderr)
        return FAILED
    from robustrun.command_line.failures import explain_failure

    return explain_failure(error, arguments, full_error)


def _command(arguments: list[str]) -> int:
    """The command that the first word names; a run or a sweep if it names none."""
    match arguments:
        case ["--version", *_]:
            print(f"robustrun {version('robustrun')}")
            return DONE
        case ["--help"] | ["-h"]:
            from robustrun.command_line.help import print_help

            return print_help()
        case ["help", word] if word in COMMANDS:
            return _sub_command(word, ["--help"])
        case ["help", *_]:
            return _command(["--help"])
        case [word, *words] if word in COMMANDS:
            return _sub_command(word, words)
    return _experiments(arguments)


def _sub_command(name: str, words: list[str]) -> int:
    module, function = COMMANDS[name]
    command = getattr(import_module(f"robustrun.command_line.{module}"), function)
    return int(command(words))


def _experiments(arguments: list[str]) -> int:
    from robustrun.command_line import typos
    from robustrun.command_line.experiments import experiments
    from robustrun.command_line.session import Session

    typos.require_usual(arguments)
    return experiments(arguments, Session())
