"""A tracker that fails never harms the run."""

import logging
from pathlib import Path
from typing import Any

import pytest

from robustrun.errors import ConfigError
from robustrun.trackers.guarded import Guarded
from robustrun.trackers.none import NoTracker
from trackers.tracked_run import CONFIG, RESULTS, row


class Breaks(NoTracker):
    """Takes the start, and fails from then on."""

    def epoch(self, folder: Path, row: dict[str, Any]) -> None:
        raise ConnectionError("the server is gone")

    finish = epoch


def test_a_tracker_that_breaks_while_training_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost: dict[str, str] = {}
    tracker = Guarded(Breaks(), lost)
    tracker.start(tmp_path, CONFIG)
    with caplog.at_level(logging.WARNING):
        for epoch in (1, 2, 3):
            tracker.epoch(tmp_path, row(epoch))
        tracker.finish(tmp_path, RESULTS)
    assert [record.message for record in caplog.records if "the server is gone" in record.message]
    assert len(caplog.records) == 1
    assert "ConnectionError: the server is gone" in lost["tracker"]


def test_a_tracker_that_cannot_start_is_the_users_to_mend(tmp_path: Path) -> None:
    class Refuses(NoTracker):
        def start(self, folder: Path, config: dict[str, Any]) -> None:
            raise PermissionError("not logged in")

    tracker = Guarded(Refuses(), {})
    with pytest.raises(ConfigError, match="not logged in"):
        tracker.start(tmp_path, CONFIG)
