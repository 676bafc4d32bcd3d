"""No tracker: everything stays in the run's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustrun.types import TRACKERS


@TRACKERS.register("none")
@dataclass(frozen=True)
class NoTracker:
    """Takes every call and keeps nothing."""

    def start(self, folder: Path, config: dict[str, Any]) -> None:
        pass

    def epoch(self, folder: Path, row: dict[str, Any]) -> None:
        pass

    def finish(self, folder: Path, results: dict[str, Any]) -> None:
        pass
