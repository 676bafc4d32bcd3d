"""The runs of a sweep handed to a launcher, until each that can be done was tried.

The sweep's folder is the state: what is finished there is not launched, and what a launcher lost
(a worker that was killed takes others with it) is launched again.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robustrun.command_line.failures import USERS_ERRORS, print_remarks
from robustrun.command_line.session import CURRENT, ExpectedRun, Session, subdirectory
from robustrun.command_line.sweep_folder import absent, runs_in
from robustrun.configuration import words
from robustrun.configuration.catalogue import options_by_group
from robustrun.errors import RunFailure
from robustrun.run_folder import provenance

log = logging.getLogger(__name__)
BY_NUMBER = "${hydra.job.num}"  # Hydra's own name for the folder of a run
Combination = list[str]  # the words of one run
Launch = Callable[[Sequence[Combination], int], Any]  # of these runs, by the number of the first


def run_all(
    combinations: list[Combination], hydra: DictConfig, launch: Launch, isolated: bool
) -> None:
    """Do the runs of a sweep that are not finished. A run that is killed ends others with it unless
    they are `isolated`. If not one of them began, raises what is wrong with the words, or a
    RunFailure that tells the engine's own error."""
    session = CURRENT.get()
    assert session is not None
    sweep = session.require_folder()
    in_turn = _in_turn(combinations, hydra)
    session.expected = expected_runs(combinations, session, in_turn)
    session.runs = len(combinations)
    left = session.expected if in_turn else [r for r in session.expected if not _completed(r)]
    if session.bar is not None:
        session.bar.advance(len(session.expected) - len(left))
    try:
        _launch(left, session, launch)
    except Exception as error:
        if not runs_in(sweep):
            raise _failure(error) from error
        print_remarks([f"the launcher failed: {_told(error)}"])
        if not in_turn:
            _launch_lost(session, launch, isolated)


def _in_turn(combinations: list[Combination], hydra: DictConfig) -> bool:
    """Whether folders or values are made of Hydra's job number: each run then needs its turn."""
    sweep = OmegaConf.to_container(hydra.sweep, resolve=False)
    assert isinstance(sweep, dict)
    named = any("job.num" in word for combination in combinations for word in combination)
    return named or sweep["subdir"] != BY_NUMBER


def expected_runs(
    combinations: list[Combination], session: Session, in_turn: bool
) -> list[ExpectedRun]:
    """The runs of a sweep by number, each with the folder that it is to use."""
    sweep = session.require_folder()
    total = len(combinations)
    folders = [sweep / subdirectory(number, total) for number in range(total)]
    return [
        ExpectedRun(n, tuple(combination), None if in_turn else folders[n])
        for n, combination in enumerate(combinations)
    ]


def representatives(combinations: list[Combination]) -> list[Combination]:
    """A few combinations in which every option of a group occurs, and every key: what does not
    compose shows in one of these, and a sweep over a thousand seeds need not compose a thousand."""
    session = CURRENT.get()
    groups = options_by_group(session.folders if session else [])
    seen: set[str] = set()
    chosen = []
    for combination in combinations:
        keys = [word.partition("=")[0] for word in combination]
        chooses = [key.lstrip("+~").partition("@")[0] in groups for key in keys]
        kinds = {w if c else k for w, k, c in zip(combination, keys, chooses, strict=True)}
        if not kinds <= seen:
            chosen.append(combination)
            seen |= kinds
    return chosen


def _completed(run: ExpectedRun) -> bool:
    return run.folder is not None and provenance.status(run.folder) == "completed"


def _launch(runs: list[ExpectedRun], session: Session, launch: Launch) -> None:
    """Raises what the launcher raises."""
    if runs:
        launch([_words(run, session) for run in runs], runs[0].number)


def _words(run: ExpectedRun, session: Session) -> Combination:
    if run.folder is None:
        return [*run.words]
    subdir = run.folder.relative_to(session.require_folder()).as_posix()
    return [*run.words, f"hydra.sweep.subdir={words.quoted(subdir)}"]


def _launch_lost(session: Session, launch: Launch, isolated: bool) -> None:
    """Runs that never began are launched together as long as that helps; then each one that is
    left, alone, since it may be what ended the others. Isolated ones ended by themselves."""
    lost = _lost(session, "absent")
    while lost:
        print_remarks([f"launched again: {len(lost)} runs that never began"])
        _try(lost, session, launch)
        before, lost = lost, _lost(session, "absent")
        if len(lost) == len(before):
            break
    killed = [] if isolated else _lost(session, "killed")
    for run in [*killed, *lost]:
        print_remarks([f"launched again, alone: {run.folder}"])
        _try([run], session, launch)


def _try(runs: list[ExpectedRun], session: Session, launch: Launch) -> None:
    """Launch these; why the launcher failed, if it does, is kept for each that does not begin."""
    try:
        _launch(runs, session, launch)
    except Exception as error:
        print_remarks([f"the launcher failed: {_told(error)}"])
        session.reasons |= {run.number: _told(error) for run in runs}


def _failure(error: Exception) -> Exception:
    """What a launcher raised, as it is said: an engine's own error needs no traceback."""
    if isinstance(error, USERS_ERRORS):
        return error
    return RunFailure(f"the launcher failed before the first run began: {_told(error)}")


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def _lost(session: Session, how: str) -> list[ExpectedRun]:
    """The expected runs that are in no folder, or that were killed."""
    runs = runs_in(session.require_folder())
    if how == "absent":
        return absent(session, runs)
    killed = {run.folder for run in runs if run.status == "killed"}
    return [run for run in session.expected if run.folder in killed]
