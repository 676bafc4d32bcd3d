"""The command line in a process of its own that can be killed, forked from one that has torch."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "robustrun.command_line.evaluate",
        "robustrun.command_line.resume",
        "robustrun.command_line.single_run",
        "robustrun.command_line.sweep_worker",
        "robustrun.experiment",
        "robustrun.run_folder.figures",
    ]
)
LONGEST = 120  # seconds for one command on a busy machine; most take one


def kill_at(event: int) -> None:
    """Let this process be killed just before (odd) or after (even) the next steps in which files
    appear: links, renames, new folders."""
    left = [event]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            for step in (lambda: None, lambda: function(*arguments, **named)):
                result = step()
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

        return called

    for name in ("link", "replace", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))


def work(folder: str, words: list[str], limit: int | None, event: int) -> None:
    """What the child does: everything it prints goes to files in `folder`."""
    import resource

    import torch

    os.chdir(folder)
    for number, name in ((1, "stdout.txt"), (2, "stderr.txt")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    torch.set_num_threads(1)
    if event:
        kill_at(event)
    sys.argv = ["robustrun", *words]
    from robustrun.command_line.main import run_command_line

    code = run_command_line(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@dataclass
class Command:
    """A robustrun command that runs in `folder`."""

    folder: Path
    child: Any

    @classmethod
    def start(
        cls, folder: Path, *words: str, limit: int | None = None, killed_at: int = 0
    ) -> "Command":
        child = CONTEXT.Process(target=work, args=(str(folder), list(words), limit, killed_at))
        child.start()
        return cls(folder, child)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + LONGEST
        while not condition():
            assert self.child.is_alive(), "it ended before: " + self.said()
            assert time.monotonic() < ends, "it never came to that: " + self.said()
            time.sleep(0.005)

    def send(self, number: int) -> None:
        os.kill(self.child.pid, number)

    def end(self) -> int:
        """The exit code; minus the signal's number where one killed it."""
        self.child.join(LONGEST)
        assert not self.child.is_alive(), "it hangs: " + self.said()
        return int(self.child.exitcode)

    def said(self) -> str:
        file = self.folder / "stderr.txt"
        return file.read_text() if file.is_file() else ""


def printed(folder: Path, *words: str, code: int = 0) -> str:
    """Run a command to its end; returns what it printed on stdout, then what it said on stderr."""
    said = robustrun(folder, *words, code=code)
    return (folder / "stdout.txt").read_text() + said


def robustrun(folder: Path, *words: str, code: int = 0, limit: int | None = None) -> str:
    """Run a command to its end; returns what it said on stderr."""
    command = Command.start(folder, *words, limit=limit)
    found = command.end()
    assert found == code, command.said()
    return command.said()
