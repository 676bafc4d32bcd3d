"""A tracker that cannot harm its run: trouble before training is an error, afterwards a warning."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustrun.errors import ConfigError, RobustrunError
from robustrun.types import Tracker

log = logging.getLogger(__name__)


class Guarded:
    """Hands every call on, until one fails once training has begun."""

    def __init__(self, tracker: Tracker, lost: dict[str, str]) -> None:
        self.tracker = tracker
        self.lost = lost  # what failed is named here, too
        self.working = True

    def start(self, folder: Path, config: dict[str, Any]) -> None:
        self.working = False  # what never started has nothing to finish
        try:
            self.tracker.start(folder, config)
        except RobustrunError:
            raise
        except Exception as error:
            raise ConfigError(
                f"tracker could not start ({type(error).__name__}: {error}). Mend what it says, or "
                "take tracker=none."
            ) from error
        self.working = True

    def epoch(self, folder: Path, row: dict[str, Any]) -> None:
        self._hand_on(lambda: self.tracker.epoch(folder, row))

    def finish(self, folder: Path, results: dict[str, Any]) -> None:
        self._hand_on(lambda: self.tracker.finish(folder, results))

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
