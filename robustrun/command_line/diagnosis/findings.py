"""What the doctor found: findings in sections, as text for a terminal and as data for JSON.

Nothing but the standard library is imported here, nor in what looks at packages: an installation
that lacks some must be able to say so.
"""

import os
import shutil
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["fine", "remark", "broken"]
MARKS: dict[State, str] = {"fine": " ", "remark": "!", "broken": "X"}
NAMES = 22  # columns of the names, where the text stands beside them
SIDE_BY_SIDE = 60  # columns of a terminal that is wide enough for that


@dataclass(frozen=True)
class Finding:
    """One line of the report; a remark costs time or an option, what is broken stops runs."""

    name: str
    text: str
    state: State = "fine"


@dataclass(frozen=True)
class Section:
    """The findings about one thing."""

    title: str
    findings: list[Finding]


def screen_width() -> int | None:
    """The columns of the terminal; None where lines need no wrapping: a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def as_text(section: Section, width: int | None) -> str:
    """The section in lines of at most `width` columns; words are not cut."""
    return "\n".join([section.title, *(_entry(finding, width) for finding in section.findings)])


def _entry(finding: Finding, width: int | None) -> str:
    beside = width is None or width >= SIDE_BY_SIDE
    name = f"{finding.name:{NAMES}} " if beside else f"{finding.name}: "
    if not finding.name:
        name = ""
    return _wrapped(f"{MARKS[finding.state]} {name}", finding.text, width, beside)


def _wrapped(head: str, text: str, width: int | None, beside: bool) -> str:
    if width is None:
        return f"{head}{text}".rstrip()
    return textwrap.fill(
        text,
        max(width, 20),
        initial_indent=head,
        subsequent_indent=" " * (len(head) if beside else 4),
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_data(sections: list[Section]) -> dict[str, object]:
    """The same for JSON: sections by their titles, each a list of findings."""
    return {
        "schema_version": 1,
        "healthy": not broken(sections),
        "sections": {
            section.title: [vars(finding) for finding in section.findings] for section in sections
        },
    }


def broken(sections: list[Section]) -> list[Finding]:
    """What stops runs."""
    every = [finding for section in sections for finding in section.findings]
    return [finding for finding in every if finding.state == "broken"]


def private(path: str | Path) -> str:
    """A path without the user's name: a report of a fault is public."""
    text, home = str(path), os.path.expanduser("~")
    inside = home not in ("", "~", "/") and (text == home or text.startswith(home + os.sep))
    return f"~{text[len(home) :]}" if inside else text


def size(count: float) -> str:
    """Bytes as 12 MB or 3.4 GB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            number = count / scale
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{count / 1e3:.0f} kB"
