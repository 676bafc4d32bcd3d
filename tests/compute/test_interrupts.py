"""Signals wait for the step under way, once, and handlers are as they were afterwards."""

import signal
import threading
from collections.abc import Iterator

import pytest

from robustrun.compute.interrupts import SIGNALS, Terminated, held, stop


@pytest.fixture(autouse=True)
def _handlers_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


RAISED = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.mark.parametrize(("number", "error"), RAISED)
def test_a_signal_waits_until_it_is_looked_at(number: int, error: type[BaseException]) -> None:
    steps = []

    def work() -> None:
        with held() as arrived:
            for step in range(5):
                if arrived:
                    stop(arrived[0])
                if step == 2:
                    signal.raise_signal(number)
                steps.append(step)

    with pytest.raises(error):
        work()
    assert steps == [0, 1, 2], "the step of the signal is finished"


@pytest.mark.parametrize(("number", "error"), RAISED)
def test_a_signal_that_nobody_looked_at_is_raised_at_the_end(
    number: int, error: type[BaseException]
) -> None:
    done = []

    def work() -> None:
        with held():
            signal.raise_signal(number)
            done.append("the last step")

    with pytest.raises(error):
        work()
    assert done == ["the last step"]


@pytest.mark.parametrize(("second", "error"), RAISED)
def test_the_second_signal_of_either_kind_stops_at_once(
    second: int, error: type[BaseException]
) -> None:
    done = []

    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            done.append("after the first")
            signal.raise_signal(second)
            done.append("after the second")

    with pytest.raises(error):
        work()
    assert done == ["after the first"]


@pytest.mark.parametrize("fails", [False, True])
def test_handlers_are_as_they_were_afterwards(fails: bool) -> None:
    def own(number: int, frame: object) -> None:
        raise AssertionError("held back")

    for number in SIGNALS:
        signal.signal(number, own)
    try:
        with held():
            assert all(signal.getsignal(number) is not own for number in SIGNALS)
            if fails:
                raise OSError
    except OSError:
        assert fails
    assert all(signal.getsignal(number) is own for number in SIGNALS)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what runs in the background
    with held() as arrived:
        signal.raise_signal(signal.SIGINT)
        assert arrived == []
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_in_another_thread_nothing_is_held_back_and_nothing_fails() -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    seen: list[object] = []

    def work() -> None:
        with held() as arrived:
            seen.extend([arrived, {number: signal.getsignal(number) for number in SIGNALS}])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [[], before]
