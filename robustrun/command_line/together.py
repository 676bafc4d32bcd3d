"""A command in several processes: the first one reads it, and the others do its run beside it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustrun import console
from robustrun.command_line.exit_codes import DONE, INTERRUPTED, TERMINATED
from robustrun.command_line.failures import exit_code_of
from robustrun.compute import interrupts, processes
from robustrun.compute.place import Place
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import load_config
from robustrun.run_folder import provenance


def run_together(place: Place, command: Callable[[], int]) -> int:
    """The exit code of `command`, which only the first process carries out; another one waits for
    its run, and says nothing but errors, and warnings that are its own."""
    with processes.together(place):
        if not processes.is_first():
            return _follow()
        try:
            return command()
        finally:
            _dismiss()


_ordered = False  # whether the others have been told what to do


def order(run_config: Any, folder: Path, source: Path | None) -> None:
    """Let the other processes do this run, too."""
    global _ordered
    if processes.count() > 1 and not _ordered:
        _ordered = True
        processes.told(
            {
                "directory": os.getcwd(),
                "folder": str(folder.absolute()),
                "source": None if source is None else str(source.absolute()),
                "configuration": dump(run_config),
            }
        )


def _dismiss() -> None:
    """Let the others end, if there is no run for them."""
    global _ordered
    if not _ordered:
        processes.told(None)
    _ordered = False


def _follow() -> int:
    console.draw_nothing()
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter(f"{console.HEAD} process {processes.rank()}: %(message)s")
    )
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: record.levelno > logging.WARNING or processes.speaks())
    logging.getLogger().addHandler(handler)
    try:
        if (run := processes.told(None)) is not None:
            _beside_the_first(run)
    except interrupts.STOPPED as error:
        return TERMINATED if isinstance(error, interrupts.Terminated) else INTERRUPTED
    except Exception as error:  # the first process says what it is told of it
        return exit_code_of(error)
    return DONE


def _beside_the_first(run: dict[str, Any]) -> None:
    from robustrun import experiment

    os.chdir(run["directory"])
    folder = Path(run["folder"])
    provenance.restore_plugins(folder)
    run_config = load_config(run["configuration"])
    if run["source"] is None:
        experiment.run(run_config, folder)
    else:
        experiment.evaluate_again(run_config, folder, Path(run["source"]))
