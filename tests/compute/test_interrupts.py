"""Signals wait for the step under way, once, and handlers are as they were afterwards."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest

from robustrun.compute.interrupts import (
    SIGNALS,
    STOPPED,
    TakenAway,
    Terminated,
    answered,
    held,
    stop,
)


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_librarys_handler_is_asked_after_the_step_and_may_let_the_run_continue(
    number: int,
) -> None:
    events: list[object] = []
    signal.signal(number, lambda number, frame: events.append(number))
    with answered(), held() as arrived:
        for step in range(3):
            if step == 1:
                signal.raise_signal(number)
                signal.raise_signal(number)  # a second one waits as well
            events.append(step)
            arrived.heed()
    assert events == [0, 1, number, number, 2]


def _exit(number: int, frame: object) -> None:
    raise SystemExit(-1)  # as submitit's handler does, once the job is in the queue again


def _fail(number: int, frame: object) -> None:
    raise ValueError("timed-out too many times")


@pytest.mark.parametrize(("handler", "error"), [(_exit, TakenAway), (_fail, Terminated)])
@pytest.mark.parametrize("in_step", [False, True])
def test_what_a_librarys_handler_raises_stops_the_run_and_is_no_failure_of_it(
    handler: Callable[..., None], error: type[BaseException], in_step: bool
) -> None:
    signal.signal(signal.SIGUSR2, handler)
    done = []

    def work() -> None:
        with answered(), held() if in_step else nullcontext():
            signal.raise_signal(signal.SIGUSR2)
            done.append("the step")

    with pytest.raises(STOPPED) as raised:
        work()
    assert raised.type is error
    assert done == (["the step"] if in_step else [])
    assert signal.getsignal(signal.SIGUSR2) is handler


def test_sigterm_ends_a_run_in_a_process_that_does_not_handle_it() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # would end the process without a word
    with pytest.raises(Terminated), answered():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_signals_that_nobody_handles_are_left_to_the_system() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    with answered(), held():
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
