"""No tracker: everything stays in the run's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustrun.types import TRACKERS


class UntrackedRun:
    """Takes every call and keeps nothing."""

    def epoch(self, row: dict[str, Any]) -> None:
        pass

    def finish(self, results: dict[str, Any]) -> None:
        pass


@TRACKERS.register("none")
@dataclass(frozen=True)
class NoTracker:
    """Sends nothing anywhere."""

    def start(self, folder: Path, config: dict[str, Any]) -> UntrackedRun:
        return UntrackedRun()
