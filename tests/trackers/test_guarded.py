"""A tracker that fails never harms the run."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from robustrun.errors import ConfigError
from robustrun.trackers.guarded import started
from robustrun.trackers.none import NoTracker, UntrackedRun
from robustrun.types import RunTracker
from trackers.tracked_run import CONFIG, RESULTS, row


class Notebook:
    """Keeps what it is sent; `epoch` and `finish` fail where they are told to."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def epoch(self, row: dict[str, Any]) -> None:
        self._keep("epoch", row)

    def finish(self, results: dict[str, Any]) -> None:
        self._keep("finish", results)

    def _keep(self, call: str, value: dict[str, Any]) -> None:
        self.calls.append((call, value))
        if call == self.fails:
            raise ConnectionError("the server is gone")


@dataclass(frozen=True)
class Starts:
    """A tracker whose `start` returns this."""

    run_tracker: Any

    def start(self, folder: Path, config: dict[str, Any]) -> RunTracker:
        returned: RunTracker = self.run_tracker
        return returned


@pytest.mark.parametrize(("fails", "calls"), [("", 4), ("epoch", 1), ("finish", 4)])
def test_a_tracker_that_breaks_after_its_start_is_told_of_once_and_left_alone(
    fails: str, calls: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost: dict[str, str] = {}
    notebook = Notebook(fails)
    run = started(Starts(notebook), tmp_path, CONFIG, lost)
    with caplog.at_level(logging.WARNING):
        for epoch in (1, 2, 3):
            run.epoch(row(epoch))
        run.finish(RESULTS)
    sent = [("epoch", row(1)), ("epoch", row(2)), ("epoch", row(3)), ("finish", RESULTS)]
    assert notebook.calls == sent[:calls]
    assert len(caplog.records) == bool(fails)
    why = "ConnectionError: the server is gone; it has nothing from there on"
    assert lost == ({"tracker": why} if fails else {})


def test_two_runs_of_one_tracker_are_told_apart(tmp_path: Path) -> None:
    class Two(NoTracker):
        def start(self, folder: Path, config: dict[str, Any]) -> Any:
            return Notebook()

    one, other = (started(Two(), tmp_path, CONFIG, {}) for _ in range(2))
    one.epoch(row(1))
    other.finish(RESULTS)
    calls = [run.run_tracker.calls for run in (one, other)]  # type: ignore[attr-defined]
    assert calls == [[("epoch", row(1))], [("finish", RESULTS)]]


def test_a_tracker_that_cannot_start_is_the_users_to_mend(tmp_path: Path) -> None:
    class Refuses(NoTracker):
        def start(self, folder: Path, config: dict[str, Any]) -> UntrackedRun:
            raise PermissionError("not logged in")

    with pytest.raises(ConfigError, match="not logged in"):
        started(Refuses(), tmp_path, CONFIG, {})


class Former:
    """A tracker of the form before: it knows a run by its folder."""

    def start(self, folder: Path, config: dict[str, Any]) -> None: ...

    def epoch(self, folder: Path, row: dict[str, Any]) -> None: ...

    def finish(self, folder: Path, results: dict[str, Any]) -> None: ...


class HalfWay(Former):
    """Returns itself, but still asks for the folder."""

    def start(self, folder: Path, config: dict[str, Any]) -> Any:
        return self


@pytest.mark.parametrize(
    ("tracker", "returned"),
    [
        (Former(), "Former.start(folder, config) returns None,"),
        (
            HalfWay(),
            "HalfWay.start(folder, config) returns HalfWay, whose methods take other",
        ),
        (Starts(3), "Starts.start(folder, config) returns an object of type int,"),
    ],
)
def test_a_tracker_whose_start_returns_no_run_tracker_is_told_what_is_right(
    tracker: Any, returned: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        started(tracker, tmp_path, CONFIG, {})
    said = str(raised.value)
    assert f"tracker: {returned} " in said
    assert "but must return an object with the methods" in said
    assert "epoch(row) and finish(results) (robustrun.types.RunTracker)" in said
