"""A configuration, its run, and the closing table. Imports torch, when it is used."""

import logging
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from robustrun.command_line.failures import note_how_to_continue
from robustrun.compute import interrupts
from robustrun.configuration import composition, plugins
from robustrun.run_folder.folder import RUN_LOG

log = logging.getLogger(__name__)


def load_composed(composed: DictConfig, folders: list[Path]) -> Any:
    """The checked configuration, with options from further `folders`. Imports torch: everything
    before this is quick."""
    from robustrun.configuration.run_config import left_out, load_config

    raw = composition.with_options(composed, HydraConfig.get())
    for folder in folders:  # a launcher's process has not looked there yet
        plugins.look_in(folder)
    loaded = load_config(raw, folders)
    for remark in left_out(raw).values():
        log.warning(remark)
    return loaded


def execute(run_config: Any, folder: Path, source: Path | None = None) -> None:
    """The one run or evaluation of a command: its folder is said first, and how to continue it if
    a signal stops it. Otherwise as `run_and_show`."""
    from robustrun.console import logging_to

    with logging_to(folder / RUN_LOG):
        log.info("everything is written to %s", folder.absolute())
        try:
            run_and_show(run_config, folder, source)
        except interrupts.STOPPED as error:
            note_how_to_continue(error, folder)
            raise


def run_and_show(run_config: Any, folder: Path, source: Path | None = None) -> Any:
    """The run, or the evaluation of what is at `source`, or what is left of it; returns its
    RunRecord."""
    from robustrun import experiment
    from robustrun.command_line.together import order
    from robustrun.console import logging_to
    from robustrun.report import terminal

    order(run_config, folder, source)
    with logging_to(folder / RUN_LOG):
        if source is None:
            record = experiment.run(run_config, folder)
        else:
            record = experiment.evaluate_again(run_config, folder, source)
        terminal.show_run(record)
    return record
