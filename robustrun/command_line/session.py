"""One command of the user: what was asked for and, in the driver of a sweep, how far it is."""

import json
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustrun.configuration import words
from robustrun.configuration.words import Line

SWEEP = "sweep.json"
MOST_IN_A_FOLDER = 1000  # runs; file systems slow down with many thousands


@dataclass(frozen=True)
class ExpectedRun:
    """A run that a sweep is to do."""

    number: int
    words: tuple[str, ...]  # of the sweep's combination, as Hydra's launchers take them
    folder: Path | None  # None: its name is made from its configuration


@dataclass
class Session:
    """One command: what was asked for and, in the driver, how far it is."""

    line: Line = field(default_factory=lambda: words.split([]))  # what was typed
    folders: list[Path] = field(default_factory=list)  # of options, beside the catalogue
    command: str = ""  # as it was typed
    resumes: bool = False  # `robustrun resume`
    runs: int | None = None  # of a sweep, where it is known
    expected: list[ExpectedRun] = field(default_factory=list)  # where the sweeper is ours
    error: BaseException | None = None  # of a single run
    sweep_folder: Path | None = None
    bar: Any = None  # of a sweep
    latest: Path | None = None  # the run that this process did last
    summary: Any = None  # summary.csv so far
    reasons: dict[int, str] = field(default_factory=dict)  # why runs of a sweep never began
    broken: bool = False  # a sweep's launcher failed, and what is missing is not known
    refusal: Exception | None = None  # of a sweep whose folder cannot be used
    new_folders: list[Path] = field(default_factory=list)  # that were not there before

    def require_folder(self) -> Path:
        """The sweep's folder, which is claimed; raises why it cannot be used."""
        if self.refusal is not None:
            raise self.refusal
        assert self.sweep_folder is not None
        return self.sweep_folder

    def leave_nothing(self) -> None:
        """Remove the folders that were made for what is refused, unless something is in them."""
        with suppress(OSError):
            for folder in self.new_folders:
                folder.rmdir()

    @property
    def continues(self) -> bool:
        """Whether what is in the sweep's folder already is of this sweep."""
        typed = [words.parse(word) for word in self.line.words]
        auto = [o for o in typed if words.key(o) == "resume" and o.value() == "auto"]
        return self.resumes or bool(auto)

    @property
    def left(self) -> str:
        """The time that the rest of a sweep will take, once a run is done."""
        return f" ({self.bar.left} left)" if self.bar and self.bar.done else ""


CURRENT: ContextVar[Session | None] = ContextVar("session", default=None)  # set in the driver


def about(session: Session, directory: str) -> dict[str, Any]:
    """What sweep.json tells the workers, and `robustrun resume`, of a session."""
    return {
        "arguments": session.line.arguments(),
        "directory": directory,
        "command": session.command,
        "folders": [str(folder) for folder in session.folders],
        "resumes": session.resumes,
        "runs": session.runs,
    }


def session_of(sweep: Path) -> tuple[Session, Path]:
    """What the driver of the sweep in this folder was asked for, and where it was started."""
    told = json.loads((sweep / SWEEP).read_bytes())
    places = [Path(place) for place in told["folders"]]
    line = words.split(told["arguments"])
    session = Session(line, places, told["command"], told["resumes"], told["runs"])
    return session, Path(told["directory"])


def subdirectory(number: int, runs: int) -> str:
    """The folder of a run, in that of its sweep."""
    return f"{number // MOST_IN_A_FOLDER}/{number}" if runs > MOST_IN_A_FOLDER else str(number)


def own_words(overrides: list[str]) -> list[str]:
    """A run's words without `resume`, which is about the command alone."""
    return [word for word in overrides if words.key(words.parse(word)) != "resume"]
