"""A run under way, and its record: config.yaml at its start, results.json however it ends."""

import dataclasses
import errno
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from robustrun.compute import interrupts, processes
from robustrun.configuration import plugins
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import RunConfig
from robustrun.errors import RunFailure
from robustrun.run_folder import checkpoint, model_card, provenance
from robustrun.run_folder.folder import CONFIGURATION, FOLDER, RESULTS, locked
from robustrun.run_folder.schema import RunRecord, RunSection, read_record
from robustrun.storage import files
from robustrun.trackers import guarded
from robustrun.trackers.none import UntrackedRun
from robustrun.types import RunTracker

log = logging.getLogger(__name__)
OF_TRAINING = ("method", "recipe", "optimizer", "schedule", "training")


@dataclass
class RunInProgress:
    """A run whose stages are under way; what they found is noted here, for its record."""

    config: RunConfig
    folder: Path
    provenance: provenance.Provenance
    began: float = field(default_factory=time.monotonic)
    lost: dict[str, str] = field(default_factory=dict)  # what was to be made, and why it is not
    # What never started has nothing to finish.
    tracker: RunTracker = field(default_factory=UntrackedRun)

    def __post_init__(self) -> None:
        self.record = RunRecord(run=self._run("interrupted"), folder=self.folder)

    def start_tracker(self, config: dict[str, Any]) -> None:
        """Send the configuration, as dumped; ConfigError if the tracker cannot start."""
        self.tracker = guarded.started(self.config.tracker, self.folder, config, self.lost)

    def note(self, **sections: Any) -> None:
        """Keep what a stage found, as sections of the record."""
        self.record = dataclasses.replace(self.record, **sections)

    @contextmanager
    def spared(self, what: str) -> Iterator[None]:
        """What fails in this context is named as lost, and does not fail the run."""
        try:
            yield
        except Exception as error:
            self.lost[what] = f"{type(error).__name__}: {error}"

    def end(self, status: str, error: str | None = None) -> RunRecord:
        """Write the record, and what is made of it."""
        record = self._record(status, error)
        _write(record)
        before = len(self.lost)
        with self.spared(model_card.NAME):
            model_card.write(record)
        self.tracker.finish(record.results)
        if len(self.lost) > before:
            record = dataclasses.replace(record, run=self._run(status, error))
            _write(record)
        for what, why in self.lost.items():
            log.warning("not made: %s (%s)", what, why)
        return record

    def _record(self, status: str, error: str | None) -> RunRecord:
        evaluated = self.record.evaluated
        whole = evaluated is None or evaluated.kind == "run"
        configured = dump(self.config) if whole else _without_training(dump(self.config))
        run = self._run(status, error)
        return dataclasses.replace(self.record, run=run, config=configured)

    def _run(self, status: str, error: str | None = None) -> RunSection:
        about = self.provenance
        return RunSection(
            id=self.folder.name,
            status=status,
            command=about.command,
            overrides=None if about.overrides is None else tuple(about.overrides),
            started_at=about.started_at,
            resumed_at=tuple(about.resumed_at),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=about.seconds + time.monotonic() - self.began,
            error=error,
            lost=dict(self.lost),
        )


def recorded(
    run_config: RunConfig,
    folder: Path,
    source: Path | None,
    stages: Callable[[RunInProgress], None],
) -> RunRecord:
    """Do the stages between config.yaml at their start and results.json at their end, on success
    and on failure; of a run that is complete already, its record. Of several processes the first
    one writes."""
    if not processes.is_first():
        return _joined_in(run_config, folder, stages)
    with locked(folder), interrupts.answered():
        plain = dump(run_config)
        provenance.require_same(folder, plain)
        if provenance.status(folder) == "completed":  # since the caller looked
            processes.told(False)
            return read_record(folder)
        files.clear_parts(folder)
        text = yaml.safe_dump(plain, sort_keys=False)
        files.write_atomically(folder / CONFIGURATION, text.encode())
        about = provenance.start(folder, plugins.places(run_config), source)
        record = _ended(RunInProgress(run_config, folder, about), plain, stages)
        if not run_config.keep.checkpoint:
            checkpoint.discard(folder / FOLDER)
        return record


def _ended(
    run: RunInProgress, plain: dict[str, Any], stages: Callable[[RunInProgress], None]
) -> RunRecord:
    """The stages done, and the record written however they end."""
    try:
        run.start_tracker(plain)
        processes.told(True)
        stages(run)
    except Exception as error:
        with interrupts.held():  # who lost a process is told to end, and must still say so
            run.end("failed", f"{type(error).__name__}: {error}")
        raise _with_remedy(error) from error
    except BaseException as error:  # Ctrl-C, SIGTERM, or a part that calls sys.exit
        if reason := processes.why_broken():  # the others are stopped when one is lost
            with interrupts.held():
                run.end("failed", reason)
            raise RunFailure(reason) from error
        exits = isinstance(error, SystemExit) and not isinstance(error, interrupts.STOPPED)
        run.end("failed" if exits else "interrupted", type(error).__name__)
        raise
    return run.end("completed")


def _joined_in(
    run_config: RunConfig, folder: Path, stages: Callable[[RunInProgress], None]
) -> RunRecord:
    """The same stages beside the first process, which writes; it is told why they fail."""
    if not processes.told(None):
        return read_record(folder)
    run = RunInProgress(run_config, folder, provenance.read(folder))
    try:
        stages(run)
    except BaseException as error:
        processes.leave_word(error)
        raise
    return run.record


def _write(record: RunRecord) -> None:
    files.write_json(record.folder / RESULTS, record.to_json())


def _without_training(plain: dict[str, Any]) -> dict[str, Any]:
    """The configuration without what speaks of a training that was not this network's: a file's
    was somewhere else."""
    own = {key: value for key, value in plain.items() if key not in OF_TRAINING}
    return own | {"options": {k: v for k, v in plain["options"].items() if k in own}}


def _with_remedy(error: BaseException) -> BaseException:
    """The same failure with a message that says what to do, where one is known."""
    if isinstance(error, torch.OutOfMemoryError):
        return RunFailure(
            "The device ran out of memory. Lower training.batch_size or evaluation.batch_size, or "
            f"take a smaller model. ({str(error).splitlines()[0]})"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return RunFailure(f"No space is left on the disk that holds the run's folder ({error}).")
    return error
