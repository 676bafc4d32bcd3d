"""One run of a sweep, in the driver or in a process of a launcher; it writes its folder only."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from robustrun.command_line.execute import load_composed, run_and_show
from robustrun.command_line.failures import message_of
from robustrun.command_line.process import import_torch
from robustrun.command_line.request import request
from robustrun.command_line.session import CURRENT, Session, own_words, session_of
from robustrun.compute import interrupts
from robustrun.configuration import composition
from robustrun.errors import ConfigError
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import locked
from robustrun.run_folder.schema import RunRecord, read_record

log = logging.getLogger(__name__)


def run_one_of_sweep(composed: DictConfig) -> float | None:
    """Whatever goes wrong is kept in the run's folder, and the next run starts; only signals stop
    the sweep. Returns what sweepers that search maximise: the run's selection metric."""
    hydra = HydraConfig.get()
    folder, overrides = Path(hydra.runtime.output_dir), list(hydra.overrides.task)
    driver = CURRENT.get()
    session = driver or _of_a_driver_elsewhere(Path(hydra.sweep.dir))
    left = driver.left if driver else ""
    log.info("%s%s: %s", place(number_of(hydra), session), left, " ".join(overrides))
    try:
        return _selection_metric(_run(composed, folder, overrides, session))
    except BaseException as error:
        if isinstance(error, interrupts.STOPPED):
            raise
        message = message_of(error, overrides)
        log.error("run %s failed: %s", folder.name, message)
        _record_failure(composed, folder, message, request(session, overrides))
        return None
    finally:
        if driver is not None:
            driver.latest = folder


def _of_a_driver_elsewhere(sweep: Path) -> Session:
    """What the driver was asked for; relative paths begin where it was started."""
    session, directory = session_of(sweep)
    if directory.is_dir():
        os.chdir(directory)
    composition.register_resolvers()
    return session


def _run(composed: DictConfig, folder: Path, overrides: list[str], session: Session) -> RunRecord:
    begun = provenance.taken(folder)
    if begun:
        _require_own(folder, overrides, session)
        if provenance.status(folder) == "completed":
            return read_record(folder)
    import_torch()
    run_config = load_composed(composed, session.folders)
    if not begun:
        provenance.take(folder, request(session, overrides, run_config))
    if CURRENT.get() is None:
        _spread_over_gpus(folder)
    record: RunRecord = run_and_show(run_config, folder)
    return record


def _require_own(folder: Path, overrides: list[str], session: Session) -> None:
    """ConfigError if the folder is of a run with other words; a sweep that `robustrun resume`
    continues may be of an older version, whose words were others."""
    before = provenance.read(folder).swept
    if not session.resumes and before != own_words(overrides):
        raise ConfigError(f"{folder} belongs to another run ({' '.join(before) or 'no sweep'}).")


def _spread_over_gpus(folder: Path) -> None:
    """Runs beside each other on one machine take its GPUs in turn; where a launcher shows each
    process one of them, that one."""
    import torch

    number = folder.name
    if torch.cuda.is_available() and number.isdecimal():
        torch.cuda.set_device(int(number) % torch.cuda.device_count())


def number_of(hydra: Any) -> int:
    """The number of the run under way: that of its folder, where the sweeper is ours."""
    name = Path(hydra.runtime.output_dir).name
    return int(name if name.isdecimal() else hydra.job.num)


def place(number: int, session: Session) -> str:
    """Where a sweep is: `run 7 of 24`."""
    return f"run {number + 1}" + (f" of {session.runs}" if session.runs else "")


def _selection_metric(record: RunRecord) -> float | None:
    """Robust accuracy on the validation split, else clean, of the weights that a run kept."""
    best = record.training.best if record.training else None
    if best is None:
        return None
    robust, clean = best.validation_robust_accuracy, best.validation_clean_accuracy
    return clean if robust is None else robust


def _record_failure(
    composed: DictConfig, folder: Path, message: str, about: provenance.Provenance
) -> None:
    """A run of a sweep whose configuration was refused leaves a results.json, too; but nothing is
    written where another process works on the run, or has finished it."""
    from robustrun.run_folder import artefacts

    provenance.take(folder, about)
    with suppress(ConfigError), locked(folder):
        if not provenance.status(folder):
            raw = OmegaConf.to_container(composed, resolve=False)
            artefacts.write_refusal(folder, raw, message)
