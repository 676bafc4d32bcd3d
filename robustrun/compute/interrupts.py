"""Signals: the step under way is finished first, and a second signal stops at once.

Whoever handled a signal before the run (a scheduler's library) is asked once the state is saved,
and may take the process away or let the run continue until it is killed.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn, TypeGuard

log = logging.getLogger(__name__)
NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")  # Windows has the first two
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
Handler = Callable[[int, FrameType | None], Any]


class Terminated(BaseException):
    """SIGTERM arrived, as from a scheduler that wants the machine back."""


class TakenAway(SystemExit):
    """A scheduler's library ends the process, as submitit does when it has queued the job again."""


STOPPED = (KeyboardInterrupt, Terminated, TakenAway)  # what a signal raises, here and in Python


def stop(number: int, frame: FrameType | None = None) -> NoReturn:
    """What a signal does where nothing holds it back; a handler for `signal.signal`."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated


class Waiting(list[int]):
    """Signals that arrived and were not answered yet, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[int, Any] = {}  # that were there before

    def heed(self) -> None:
        """Answer every signal as it would have been answered without waiting; most raise."""
        while self:
            number = self.pop(0)
            handler = self.handlers.get(number)
            (handler if callable(handler) else stop)(number, None)

    def add(self, number: int, frame: FrameType | None) -> None:
        """A handler; a second signal that no library answers stops at once."""
        librarys = isinstance(self.handlers[number], LibraryHandler)
        if self and not librarys:
            stop(number)
        self.append(number)
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        more = "" if librarys else "; a second one stops at once"
        log.warning("%s: the step under way is finished first%s", name, more)


@dataclass(frozen=True)
class LibraryHandler:
    """A handler that was there before the run; what it raises is a stop, never a failure."""

    handler: Handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.handler(number, frame)
        except SystemExit as error:
            raise TakenAway(error.code) from None
        except Exception as error:
            raise Terminated(f"{type(error).__name__}: {error}") from error


@contextmanager
def held() -> Iterator[Waiting]:
    """In this context the first signal waits in what is yielded, to be looked at between steps
    and answered by `heed`; a second one stops at once."""
    waiting = Waiting()
    heeded = [n for n in SIGNALS if _is_heeded(n)]
    with _handlers(waiting.handlers, {number: waiting.add for number in heeded}):
        yield waiting
    waiting.heed()  # what came after the last look


@contextmanager
def answered() -> Iterator[None]:
    """Around a whole run: a library answers its signals as a `LibraryHandler`, and SIGTERM, where
    nobody handles it, raises `Terminated`."""
    present = {number: signal.getsignal(number) for number in SIGNALS}
    handlers: dict[int, Handler] = {n: LibraryHandler(h) for n, h in present.items() if _other(h)}
    if present[signal.SIGTERM] == signal.SIG_DFL:
        handlers[signal.SIGTERM] = stop
    with _handlers({}, handlers):
        yield


def _is_heeded(number: int) -> bool:
    """Ctrl-C and SIGTERM, unless they are ignored as in a background; another if it is handled."""
    handler = signal.getsignal(number)
    if number in (signal.SIGINT, signal.SIGTERM):
        return handler != signal.SIG_IGN
    return callable(handler)


def _other(handler: Any) -> TypeGuard[Handler]:
    """Whether a handler is neither Python's nor ours."""
    ours = handler in (stop, signal.default_int_handler) or isinstance(handler, LibraryHandler)
    return callable(handler) and not ours


@contextmanager
def _handlers(before: dict[int, Any], handlers: dict[int, Handler]) -> Iterator[None]:
    """In this context these handlers are set; those of before are noted, and set again."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it gets signals
        return
    for number, handler in handlers.items():
        before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not set from Python
                signal.signal(number, handler)
