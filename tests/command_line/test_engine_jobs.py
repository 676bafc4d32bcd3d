"""Every job of an engine is waited for, whatever became of the others."""

import pytest

from robustrun.command_line.engine_jobs import all_results


def test_the_results_come_in_the_order_of_the_jobs() -> None:
    assert all_results([lambda: "first", lambda: "second"]) == ["first", "second"]


def test_a_job_that_fails_is_told_when_all_have_ended() -> None:
    ended = []

    def fails(name: str) -> None:
        ended.append(name)
        raise OSError(name)

    waits = [lambda: fails("first"), lambda: ended.append("second"), lambda: fails("third")]
    with pytest.raises(OSError, match="first"):
        all_results(waits)
    assert ended == ["first", "second", "third"]


def test_a_signal_ends_the_waiting() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        all_results([interrupted])
