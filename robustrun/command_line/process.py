"""What a command changes in the process that it runs in, and puts back when it is over."""

import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version

from robustrun.compute import environment, interrupts

log = logging.getLogger(__name__)


@contextmanager
def left_as_before() -> Iterator[None]:
    """In this context SIGTERM raises `Terminated`, and Hydra re-raises its errors. Afterwards
    these are as before: what signals do, the environment, the working folder, `sys.argv`,
    `sys.path`, and the handlers and the level of the root logger."""
    with ExitStack() as stack:
        for part in (_signals(), _folder(), _argv_and_path(), _logging()):
            stack.enter_context(part)
        stack.enter_context(environment.variable("HYDRA_FULL_ERROR", "1"))
        yield


@contextmanager
def _signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it gets signals
        return
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    signal.signal(signal.SIGTERM, interrupts.stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not set from Python
                signal.signal(number, handler)


@contextmanager
def _folder() -> Iterator[None]:
    """`robustrun resume` works in the folder that the run was started in."""
    before = os.getcwd()
    try:
        yield
    finally:
        with suppress(OSError):  # it may be gone
            os.chdir(before)


@contextmanager
def _argv_and_path() -> Iterator[None]:
    arguments, path = sys.argv, sys.path[:]
    try:
        yield
    finally:
        sys.argv, sys.path[:] = arguments, path


@contextmanager
def _logging() -> Iterator[None]:
    """`logging.config.dictConfig`, which Hydra calls, closes every handler that `logging` knows:
    those of a program that calls this one are hidden from it. There is no public way to do so."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    known, named = vars(logging)["_handlerList"], vars(logging)["_handlers"]
    before = (known[:], dict(named))
    known.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        known[:] = before[0]  # those of the command are closed, or flush what they write
        named.update(before[1])


def log_to_terminal() -> None:
    """Log as a run under Hydra does (conf/hydra/job_logging), until the command is over."""
    from robustrun import console  # takes 0.05 s to import, and --help draws nothing

    root = logging.getLogger()
    root.addHandler(console.handler())
    root.setLevel(logging.INFO)


def import_torch() -> None:
    """Import torch, which takes seconds, or minutes from a slow disk: it is said before."""
    if "torch" in sys.modules:
        return
    from robustrun import console

    log.info("robustrun %s starts; PyTorch is imported first", version("robustrun"))
    with console.step("importing PyTorch", announced=True):
        importlib.import_module("torch")
