"""`robustrun resume`: an interrupted run or sweep is continued."""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

from robustrun.command_line import process
from robustrun.command_line.execute import execute
from robustrun.command_line.exit_codes import DONE
from robustrun.command_line.experiments import experiments
from robustrun.command_line.parser import CommandParser, line_of
from robustrun.command_line.session import SWEEP, Session
from robustrun.configuration import composition, words
from robustrun.configuration.former_keys import present_key, with_present_words
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import CONFIGURATION
from robustrun.run_folder.schema import read_record

SET_BY_US = ("hydra.sweep.dir", "hydra.searchpath")  # of a sweep that is resumed


DESCRIPTION = """\
Continues an interrupted or failed run, evaluation or sweep exactly where it stopped, with the
configuration that it was started with. Of a sweep, it does what is missing or failed. What is
finished is shown and not changed."""
EXAMPLES = """\
Examples
  robustrun resume outputs/2026-01-31/12-00-00-000000_trades_digits
  robustrun resume outputs/2026-01-31/12-00-00-000000_sweep hydra/launcher=joblib
  robustrun method=trades resume=auto      the same command again: continues, or starts"""


def parser() -> CommandParser:
    own = CommandParser("resume", DESCRIPTION, EXAMPLES)
    own.add_argument("run", type=Path, metavar="RUN", help="the folder of one run or sweep")
    own.add_argument("others", nargs="*", default=[], help=argparse.SUPPRESS)
    own.add_folders()
    return own


def resume(arguments: list[str]) -> int:
    """`robustrun resume RUN`"""
    if not arguments:
        parser().error("robustrun resume takes the folder of one run or sweep: outputs/DAY/RUN")
    options = parser().read(arguments)
    folder = _folder(options)
    if (folder / SWEEP).is_file():
        if options.config_dir:
            parser().error("-cd is of one run: a sweep has the folders that it was started with")
        return _resume_sweep(folder, options.others)
    composition.opened_folders(line_of([], options.config_dir))
    about = provenance.read(folder)
    if provenance.status(folder) == "completed":
        from robustrun.report import terminal

        terminal.show_run(read_record(folder))
        return DONE
    process.log_to_terminal()
    process.import_torch()
    from robustrun.configuration.run_config import load_config
    from robustrun.run_folder.load import configuration

    if Path(about.directory).is_dir():
        os.chdir(about.directory)  # where relative paths begin
    run_config = load_config(configuration(folder))
    execute(run_config, folder, Path(about.source) if about.source else None)
    return DONE


def _folder(options: argparse.Namespace) -> Path:
    """The one folder that is named; RobustrunError unless it is one."""
    folder: Path = options.run
    of_launcher = (folder / SWEEP).is_file() and all(map(_is_of_launcher, options.others))
    if options.others and not of_launcher:
        changed = f"robustrun --config-path {folder} {' '.join(options.others)}"
        how = f" To repeat it with changes: {changed}" if "=" in changed else ""
        parser().error(
            "robustrun resume takes one folder and no other word (of a sweep, hydra/launcher and "
            "its settings), since a run continues with the configuration that it was started "
            f"with.{how}"
        )
    if folder.is_file():
        parser().error(f"{folder} is a file. Write its folder: robustrun resume {folder.parent}")
    if not folder.is_dir():
        parser().error(
            f"{folder} does not exist. robustrun resume takes the folder of one run or sweep"
        )
    return folder.resolve()


def _with_present_words(folder: Path, given: list[str]) -> list[str]:
    """The words of a sweep that an earlier version began, as they are now."""
    if not any(present_key(words.key(words.parse(word))) for word in given):
        return given
    runs = (file.parent for file in folder.rglob(CONFIGURATION))
    return with_present_words(given, map(provenance.configuration, runs))


def _is_of_launcher(word: str) -> bool:
    """Whether a word says how a sweep's runs are launched, which is no part of any of them."""
    key = words.key(words.parse(word))
    return key == "hydra/launcher" or key.startswith("hydra.launcher.")


def _launched_by(given: list[str], launcher: list[str]) -> list[str]:
    """A sweep's words with those of another launcher, or other settings of the same."""
    if not launcher:
        return given
    keys = {words.key(words.parse(word)) for word in launcher}
    another = "hydra/launcher" in keys
    kept = [
        word
        for word in given
        if not (_is_of_launcher(word) and (another or words.key(words.parse(word)) in keys))
    ]
    return [*kept, *launcher]


def _resume_sweep(folder: Path, launcher: list[str]) -> int:
    """Go through the whole sweep again, past what is finished; with another launcher, if words
    of one are given."""
    about = json.loads((folder / SWEEP).read_bytes())
    if Path(about["directory"]).is_dir():
        os.chdir(about["directory"])
    line = words.split(about["arguments"])
    others = [word for word in line.words if words.key(words.parse(word)) not in SET_BY_US]
    others = _launched_by(_with_present_words(folder, others), launcher)
    here = f"hydra.sweep.dir={words.quoted(str(folder))}"
    return experiments(replace(line, words=(here, *others)).arguments(), Session(resumes=True))
