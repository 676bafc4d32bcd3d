"""What is said of an error, and with which exit code the command ends."""

import errno
import os
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from robustrun.command_line.exit_codes import (
    DONE,
    FAILED,
    WRONG_INPUT,
)
from robustrun.command_line.stopping import explain_stop, stopped
from robustrun.configuration import words
from robustrun.configuration.composition import typed_folders
from robustrun.configuration.hydra_errors import in_plain_words
from robustrun.errors import RobustrunError, RunFailure

USERS_ERRORS = (RobustrunError, HydraException, OmegaConfBaseException, yaml.YAMLError)
UNUSABLE_PATHS = (
    *(FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError),
)


def explain_failure(error: BaseException, arguments: list[str], full_error: bool) -> int:
    """Say on stderr what went wrong, in as many words as it deserves; returns the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else (FAILED if error.code else DONE)
    if stopped(error):
        return explain_stop(error)
    if full_error:
        traceback.print_exception(error)
    else:
        print(f"robustrun: {message_of(error, arguments)}", file=sys.stderr)
    return exit_code_of(error)


def note_how_to_continue(error: BaseException, folder: Path) -> None:
    """Let what is said of a signal end with the command that continues the work in `folder`."""
    command = ["robustrun", "resume", str(folder.absolute())]
    typed = subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)
    error.add_note(f"To continue: {typed}")


def exit_code_of(error: BaseException) -> int:
    return WRONG_INPUT if isinstance(error, USERS_ERRORS) or _unusable(error) else FAILED


def _unusable(error: BaseException) -> bool:
    """Whether a path that the user named, or stands in, cannot be used."""
    closed = isinstance(error, OSError) and error.errno in (errno.EROFS, errno.ENAMETOOLONG)
    return closed or isinstance(error, UNUSABLE_PATHS)


def message_of(error: BaseException, arguments: list[str]) -> str:
    if isinstance(error, (RobustrunError, RunFailure)):
        return str(error)
    if isinstance(error, OSError) and _unusable(error):
        return _of_a_path(error)
    if isinstance(error, USERS_ERRORS):
        line = words.split(arguments)
        given = [word for word in line.words if "=" in word]  # no sub-command, run or file
        return in_plain_words(error, given, typed_folders(line))
    return "".join(traceback.format_exception(error, limit=-3)).rstrip()


def _of_a_path(error: OSError) -> str:
    """What is wrong with a path; of a folder that nothing can be written to, what to do."""
    if error.filename is None:
        return str(error)
    text = f"{error.filename}: {error.strerror}."
    closed = error.errno == errno.EACCES and not os.path.exists(error.filename)
    if error.errno != errno.EROFS and not closed:
        return text
    return (
        f"{text} Start the command in a folder where files can be made, or say where: "
        f"hydra.run.dir=FOLDER, of a sweep hydra.sweep.dir=FOLDER, of a report --output FOLDER, of "
        f"an export --output FILE."
    )


def print_remarks(remarks: Iterable[str]) -> None:
    for remark in remarks:
        print(f"robustrun: {remark}", file=sys.stderr)
