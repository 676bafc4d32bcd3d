"""`robustrun resume`: an interrupted run or sweep is continued."""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

from robustrun.command_line.execute import execute
from robustrun.command_line.experiments import experiments
from robustrun.command_line.failures import DONE
from robustrun.command_line.sweep import SWEEP, Session
from robustrun.configuration import words
from robustrun.errors import RobustrunError
from robustrun.run_folder import provenance

SET_BY_US = ("hydra.sweep.dir", "hydra.searchpath")  # of a sweep that is resumed


def resume(arguments: list[str]) -> int:
    """`robustrun resume RUN`"""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        raise RobustrunError(
            f"robustrun resume takes the folder of one run or sweep, not {' '.join(arguments)!r}."
        )
    folder = Path(arguments[0]).resolve()
    if (folder / SWEEP).is_file():
        return _resume_sweep(folder)
    from robustrun import console
    from robustrun.configuration.run_config import load_config
    from robustrun.report import terminal
    from robustrun.run_folder.load import configuration

    about = provenance.read(folder)
    if provenance.status(folder) == "completed":
        terminal.show_run(json.loads((folder / "results.json").read_bytes()), folder)
        return DONE
    logging.basicConfig(level=logging.INFO, handlers=[console.handler()])
    if Path(about.directory).is_dir():
        os.chdir(about.directory)  # where relative paths begin
    run_config = load_config(configuration(folder))
    execute(run_config, folder, Path(about.source) if about.source else None)
    return DONE


def _resume_sweep(folder: Path) -> int:
    """Go through the whole sweep again, past what is finished."""
    about = json.loads((folder / SWEEP).read_bytes())
    if Path(about["directory"]).is_dir():
        os.chdir(about["directory"])
    line = words.split(about["arguments"])
    others = [word for word in line.words if words.key(words.parse(word)) not in SET_BY_US]
    here = f"hydra.sweep.dir={words.quoted(str(folder))}"
    return experiments(replace(line, words=(here, *others)).arguments(), Session(resumes=True))
