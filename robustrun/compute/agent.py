"""Several processes for one run on this machine, started and watched by torchrun's own agent."""

import logging
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from robustrun.compute import environment, interrupts
from robustrun.compute.place import LOOPBACK, STORE
from robustrun.errors import RobustrunError, RunFailure

WRONG_INPUT = 2  # the exit code of a process whose input was the user's mistake
STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}  # of processes that a signal stopped
NO_SERVER = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"  # which would listen to every interface
OF_THE_AGENT = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")  # signals that it handles
LOGGERS = tuple(  # that tell of each process that ends, and how
    f"torch.distributed.elastic.{name}" for name in ("agent.server.api", "multiprocessing.api")
)


def run_processes(count: int, arguments: list[str]) -> None:
    """Run `python ARGUMENTS` in `count` processes that know of each other, and wait for them.

    A signal goes to all of them, and is raised when they have ended. RobustrunError or RunFailure,
    with the process's own words, where one fails; then the others are ended.
    """
    with tempfile.TemporaryDirectory(prefix="robustrun-") as meeting, _silent_agent():
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id="robustrun",
            rdzv_backend="c10d",
            rdzv_endpoint=str(Path(meeting, "agents")),
            rdzv_configs={"store_type": "file"},
            max_restarts=0,
            monitor_interval=0.1,
            local_addr=LOOPBACK,
        )
        try:
            with (
                environment.variable(STORE, str(Path(meeting, "processes"))),
                environment.variable(NO_SERVER, "1"),
                _handlers_kept(),
            ):
                elastic_launch(config, sys.executable)(*arguments)
        except SignalException as error:
            interrupts.stop(int(error.sigval))
        except ChildFailedError as error:
            raise _failure(error.failures, count) from None


def _failure(failures: Mapping[int, ProcessFailure], count: int) -> BaseException:
    """What is to be said of the processes that failed, by rank."""
    for number, failure in sorted(failures.items()):
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:  # the agent's own
            name = signal.Signals(-failure.exitcode).name
            why = f"process {number} of {count} was ended by {name}, perhaps for its memory"
            return RunFailure(f"The run was stopped: {why}.")
    codes = {each.exitcode for each in failures.values()} - {-signal.SIGTERM}
    if codes <= STOPPED:
        return KeyboardInterrupt() if 128 + signal.SIGINT in codes else interrupts.Terminated()
    by_itself = {number: each for number, each in failures.items() if each.exitcode > 0}
    number, failure = min(by_itself.items())
    text = f"process {number} of {count} ended with exit code {failure.exitcode}"
    left = failure.error_file_data.get("message")  # by the process itself
    if isinstance(left, dict):
        text = str(left["message"]).removeprefix("RuntimeError: ")
    return RobustrunError(text) if failure.exitcode == WRONG_INPUT else RunFailure(text)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """The agent sets handlers of its own; afterwards they are as before."""
    numbers = [getattr(signal, name) for name in OF_THE_AGENT if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def _silent_agent() -> Iterator[None]:
    """What fails is said once, by the process that fails."""
    levels = {logger: logger.level for logger in map(logging.getLogger, LOGGERS)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
