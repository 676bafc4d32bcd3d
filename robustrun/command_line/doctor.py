"""`robustrun doctor`: what is installed here, what works, and what would make runs faster.

It must work where an installation is broken, so it imports neither torch nor any other package.
"""

import json
import sys
from collections.abc import Callable, Iterator

from robustrun.command_line.diagnosis import (
    extras,
    findings,
    folders,
    installation,
    machine,
    pytorch,
    speed,
)
from robustrun.command_line.diagnosis.findings import Finding, Section
from robustrun.command_line.diagnosis.probe import Probe
from robustrun.command_line.exit_codes import DONE, FAILED, WRONG_INPUT
from robustrun.command_line.wrapping import fitted

USAGE = """\
usage: robustrun doctor [-h] [--json]

Shows what is installed, the devices, folders and optional parts, what is broken and how to mend it,
and what would make runs faster here. Nothing is downloaded or changed; user names and passwords are
not shown. Lines with X are broken, lines with ! are worth a look.

options:
  -h, --help  show this help message and exit
  --json      the same as JSON, for a report of a fault

Exit code: 0, or 1 if something is broken."""


def doctor(arguments: list[str]) -> int:
    """`robustrun doctor [--json]`"""
    if {"-h", "--help"} & set(arguments):
        print(fitted(USAGE))
        return DONE
    if unknown := [word for word in arguments if word != "--json"]:
        text = f"robustrun: doctor takes --json and nothing else, not {unknown[0]!r}."
        print(text, file=sys.stderr)
        return WRONG_INPUT
    sections = _as_json() if arguments else _as_text()
    return FAILED if findings.broken(sections) else DONE


def _as_json() -> list[Section]:
    sections = list(_sections(lambda seconds: None))
    print(json.dumps(findings.as_data(sections), indent=2))
    return sections


def _as_text() -> list[Section]:
    """Each section as soon as it is known."""
    sections, width = [], findings.screen_width()
    for section in _sections(_say_what_is_waited_for):
        print(f"{findings.as_text(section, width)}\n", flush=True)
        sections.append(section)
    found = findings.broken(sections)
    if found:
        names = ", ".join(finding.name for finding in found)
        print(f"Broken: {names}. The lines with X above say what helps.")
    else:
        print("Nothing is broken.")
    return sections


def _say_what_is_waited_for(seconds: float) -> None:
    print(f"PyTorch is imported, {seconds:.0f} s so far", file=sys.stderr)


def _sections(waiting: Callable[[float], object]) -> Iterator[Section]:
    """The parts of the report; `waiting` is called now and then while PyTorch is imported."""
    probe = Probe()
    yield _guarded("Versions", installation.section)
    yield _guarded("Machine", machine.section)
    yield _guarded("Optional parts", extras.section)
    yield _guarded("Folders and network", folders.section)
    answer, cores = probe.answer(waiting), machine.cores()
    yield _guarded("PyTorch", lambda: pytorch.section(answer, cores))
    yield _guarded("What would make runs faster here", lambda: speed.section(answer, cores))


def _guarded(title: str, section: Callable[[], Section]) -> Section:
    """The section; of one that cannot be made, why: the others are shown all the same."""
    try:
        return section()
    except Exception as error:
        text = f"this part of the doctor failed: {type(error).__name__}: {error}"
        return Section(title, [Finding("", text, "remark")])
