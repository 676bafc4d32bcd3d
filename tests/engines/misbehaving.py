"""Sweeps in which some runs go wrong, as long as no file `mended` lies beside them."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

METHOD = '''
import os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path

import torch
from robustrun.types import METHODS

def fill_memory():
    """Until a scheduler's limit ends it, or 3 GB are full."""
    blocks = []
    for _ in range(60):
        blocks.append(bytes(range(256)) * 200_000)
        time.sleep(0.1)

def fail():
    raise RuntimeError("on purpose")

KINDS = {
    "raise": fail,
    "exit": lambda: sys.exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": lambda: torch.empty(2**50),  # more than there is
    "fill": fill_memory,
    "slow": lambda: time.sleep(0.05),
}

@METHODS.register("misbehaving")
@dataclass(frozen=True)
class Misbehaving:
    """Standard training in which a step may go wrong."""

    kind: str

    def perturb(self, learner, x, y):
        if learner.steps == 1 or self.kind == "slow":
            if self.kind != "good" and not Path("mended").exists():
                KINDS[self.kind]()
        return x

    def loss(self, learner, x, x_adv, y):
        return learner.cross_entropy(learner.model(x), y)
'''
WORDS = (
    *("-cd", "mine", "plugins=[misbehaving]", "method=misbehaving", "model=simple_cnn"),
    *("evaluation=none", "attack=fgsm", "evaluation.examples=20", "keep.figures=false"),
)


def robustrun(
    folder: Path, *words: str, before: tuple[str, ...] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """The command, with words `before` it, in `folder`."""
    line = [*before, sys.executable, "-m", "robustrun", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def put_plugin(folder: Path) -> None:
    """The method, and its option, in `folder`/mine."""
    (folder / "mine" / "method").mkdir(parents=True)
    (folder / "mine" / "misbehaving.py").write_text(METHOD)
    option = "# Goes wrong\nname: misbehaving\nkind: good\n"
    (folder / "mine" / "method" / "misbehaving.yaml").write_text(option)


def swept(*kinds: str, epochs: int = 1) -> list[str]:
    """The words of a sweep over these kinds, in the folder `all`."""
    return [
        "-m",
        *WORDS,
        f"training.epochs={epochs}",
        f"method.kind={','.join(kinds)}",
        "hydra.sweep.dir=all",
    ]


def statuses(folder: Path) -> list[str]:
    """What the results.json of each run of the sweep says; empty where there is none."""
    places = sorted((folder / "all").glob("[0-9]*"), key=lambda place: int(place.name))
    return [_status(place / "results.json") for place in places]


def _status(file: Path) -> str:
    return str(json.loads(file.read_text())["run"]["status"]) if file.exists() else ""


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of the sweep's summary.csv."""
    with (folder / "all" / "summary.csv").open() as file:
        return list(csv.DictReader(file))


@contextmanager
def started(
    folder: Path, *words: str, before: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """The command under way, in a session of its own that ends with the context; what it says is
    in `folder`/log."""
    line = [*before, sys.executable, "-m", "robustrun", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        driver = subprocess.Popen(
            line, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield driver
        finally:
            for process in of_session(driver.pid):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            driver.wait()


def wait_until(
    condition: Callable[[], object], driver: subprocess.Popen[bytes] | None = None
) -> None:
    """AssertionError if it does not come true in two minutes, or the driver ends before."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "not in time"
        assert driver is None or driver.poll() is None, "the driver has ended"
        time.sleep(0.2)


def of_session(leader: int) -> list[int]:
    """The processes that live in the session of a process."""
    table = subprocess.run(["ps", "-e", "-o", "pid=,sess=,stat="], capture_output=True, text=True)
    lines = (line.split() for line in table.stdout.splitlines())
    return [int(pid) for pid, session, state in lines if int(session) == leader and state[0] != "Z"]
