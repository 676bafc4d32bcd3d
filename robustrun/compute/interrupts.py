"""Ctrl-C and SIGTERM: the step under way is finished first, and a second signal stops at once."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(BaseException):
    """SIGTERM arrived, as from a scheduler that wants the machine back."""


STOPPED = (KeyboardInterrupt, Terminated)  # what a signal raises, here and in Python


def stop(number: int, frame: FrameType | None = None) -> NoReturn:
    """What a signal does where nothing holds it back; a handler for `signal.signal`."""
    if number == signal.SIGTERM:
        raise Terminated
    raise KeyboardInterrupt


@contextmanager
def held() -> Iterator[list[int]]:
    """While it is open, the first signal waits in the list that is yielded, to be looked at between
    steps and given to `stop`; a second one stops at once."""
    arrived: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield arrived  # only the main thread may set handlers, and only it gets signals
        return

    def wait(number: int, frame: FrameType | None) -> None:
        if arrived:
            stop(number)
        arrived.append(number)
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        log.warning("%s: the step under way is finished first; a second one stops at once", name)

    heeded = [n for n in SIGNALS if signal.getsignal(n) != signal.SIG_IGN]  # not so in a background
    before = {number: signal.signal(number, wait) for number in heeded}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:  # came after the last look
        stop(arrived[0])
