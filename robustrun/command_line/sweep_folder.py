"""The folder of a sweep: the runs that lie in it, and what became of each."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from robustrun.command_line.session import ExpectedRun, Session, own_words
from robustrun.configuration import words
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import FILE, FOLDER, in_use

RUNNING = "another process works on it"
KILLED = "the run left no result: it was killed, or its process ended"


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep, as its folder tells."""

    folder: Path
    words: list[str]  # that it was given
    status: str  # completed, failed, interrupted; without a result killed, or running elsewhere
    error: str


def run_folders(sweep: Path) -> list[Path]:
    """The folders of runs below a sweep's, in the order of their numbers; what is in a run's own is
    not looked at."""
    folders = []
    for place, below, _ in os.walk(sweep):
        if Path(place, FOLDER, FILE).is_file():
            folders.append(Path(place))
            below.clear()
    return sorted(folders, key=lambda folder: [_number(part) for part in folder.parts])


def _number(part: str) -> tuple[float, str]:
    """Sorts 2 before 10, and 3-2 behind 3."""
    head = part.partition("-")[0]
    return (float(head) if head.isdigit() else math.inf, part)


def runs_in(sweep: Path) -> list[SweptRun]:
    """Every run that lies in the folder of a sweep."""
    return [swept_run(folder) for folder in run_folders(sweep)]


def swept_run(folder: Path) -> SweptRun:
    about = provenance.read(folder)
    status, error = provenance.outcome(folder)
    if not status:
        used = in_use(folder)
        status, error = ("running", RUNNING) if used else ("killed", KILLED)
    return SweptRun(folder, about.swept or about.overrides or [], status, error)


def absent(session: Session, runs: list[SweptRun]) -> list[ExpectedRun]:
    """The expected runs that no folder has, in their order; the words of runs that an older
    version did may be others."""
    begun = {tuple(run.words) for run in runs}
    places = {run.folder for run in runs} if session.resumes else set()
    return [
        run
        for run in session.expected
        if run.folder not in places and tuple(own_words([*run.words])) not in begun
    ]


def columns(runs: list[SweptRun]) -> list[tuple[Path, dict[str, str]]]:
    """Each run's folder, and what the words of its sweep set in it."""
    return [(run.folder, settings(run.words)) for run in runs]


def settings(overrides: list[str]) -> dict[str, str]:
    """What a run's overrides give to its row of summary.csv."""
    typed = [words.parse(word) for word in overrides]
    return {words.key(o): words.value_text(o) for o in typed if words.key(o) != "resume"}
