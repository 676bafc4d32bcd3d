"""What is said of a signal; it may come while packages are imported, so none is imported here."""

import sys

from robustrun.command_line.exit_codes import INTERRUPTED, TERMINATED
from robustrun.compute import interrupts


def stopped(error: BaseException) -> bool:
    """Whether a signal ends the command; a scheduler's library that does so says what it wants."""
    return isinstance(error, interrupts.STOPPED) and not isinstance(error, SystemExit)


def explain_stop(error: BaseException) -> int:
    """Say that the command was interrupted, and what was noted for that; returns the exit code."""
    terminated = isinstance(error, interrupts.Terminated)
    said = "terminated" if terminated else "interrupted"
    print(f"robustrun: {'. '.join([said, *getattr(error, '__notes__', [])])}", file=sys.stderr)
    return TERMINATED if terminated else INTERRUPTED
