"""A tracker that cannot harm its run: trouble before training is an error, afterwards a warning."""

import logging
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

from robustrun.errors import ConfigError, RobustrunError
from robustrun.types import RunTracker, Tracker

log = logging.getLogger(__name__)


def started(
    tracker: Tracker, folder: Path, config: dict[str, Any], lost: dict[str, str]
) -> "GuardedRun":
    """The tracker's connection to the run, which hands every call on until one fails; that is said
    in `lost`, too. ConfigError if the tracker cannot start."""
    try:
        run_tracker = tracker.start(folder, config)
    except RobustrunError:
        raise
    except Exception as error:
        raise ConfigError(
            f"tracker could not start ({type(error).__name__}: {error}). Mend what it says, or "
            "take tracker=none."
        ) from error
    _require_run_tracker(run_tracker, type(tracker).__qualname__)
    return GuardedRun(run_tracker, lost)


def _require_run_tracker(run_tracker: object, name: str) -> None:
    """ConfigError unless this is what the `start` of the tracker class `name` must return."""
    if isinstance(run_tracker, RunTracker):
        methods = (run_tracker.epoch, run_tracker.finish)
        if all(callable(method) and _takes_one_argument(method) for method in methods):
            return
        what = f"{type(run_tracker).__qualname__}, whose methods take other arguments"
    else:
        what = "None" if run_tracker is None else f"an object of type {type(run_tracker).__name__}"
    raise ConfigError(
        f"tracker: {name}.start(folder, config) returns {what}, but must return an object with the "
        "methods epoch(row) and finish(results) (robustrun.types.RunTracker), which are called for "
        "this run. They are no longer called on the tracker itself, with the folder."
    )


def _takes_one_argument(method: Callable[..., None]) -> bool:
    try:
        signature(method).bind({})
    except TypeError:
        return False
    except ValueError:  # of a method written in C, which tells no signature
        return True
    return True


class GuardedRun:
    """Hands every call on, until one fails."""

    def __init__(self, run_tracker: RunTracker, lost: dict[str, str]) -> None:
        self.run_tracker = run_tracker
        self.lost = lost  # what failed is named here, too
        self.working = True

    def epoch(self, row: dict[str, Any]) -> None:
        self._hand_on(lambda: self.run_tracker.epoch(row))

    def finish(self, results: dict[str, Any]) -> None:
        self._hand_on(lambda: self.run_tracker.finish(results))

    def _hand_on(self, call: Callable[[], None]) -> None:
        if not self.working:
            return
        try:
            call()
        except Exception as error:  # a tracker is not worth a run
            self.working = False
            kind = type(error).__name__
            log.warning("the tracker failed and is left alone from here on: %s: %s", kind, error)
            self.lost["tracker"] = f"{kind}: {error}; it has nothing from there on"
