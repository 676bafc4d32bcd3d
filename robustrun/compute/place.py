"""Which of several processes this one is, as torchrun or Slurm says in the environment. Without
torch, so that a command is refused quickly."""

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from robustrun.errors import ConfigError

STORE = "ROBUSTRUN_STORE"  # a file in which the processes of one machine find each other
LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)  # below those that systems give to clients


@dataclass(frozen=True)
class Place:
    """One of `count` processes, and where they meet: in a file, or at the first one's address."""

    rank: int
    count: int
    local_rank: int  # among those of this machine
    one_machine: bool
    address: str
    port: int
    store: str | None  # the file


def place(environment: Mapping[str, str]) -> Place | None:
    """The place that this process was given; None if it was started by itself. ConfigError for
    what torchrun would not say."""
    if "RANK" in environment:
        return _of_torchrun(environment)
    if environment.get("WORLD_SIZE", "1") != "1":
        raise ConfigError(
            f"WORLD_SIZE is {environment['WORLD_SIZE']}, but RANK is not set: start several "
            "processes with torchrun, with srun, or by device.processes."
        )
    # What sbatch gives to a batch script has no step: a sweep's driver there is one process.
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _of_slurm(environment)
    return None


def leave(code: int) -> NoReturn:
    """End this process; one of several ends at once, since the threads of its connections may abort
    Python while it takes itself down, when everything is done."""
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(ConfigError):  # which was said before
        if (here := place(os.environ)) is not None and here.count > 1:
            os._exit(code)
    sys.exit(code)


def _of_torchrun(environment: Mapping[str, str]) -> Place:
    rank, count = int(environment["RANK"]), int(environment.get("WORLD_SIZE", "1"))
    return Place(
        rank,
        count,
        int(environment.get("LOCAL_RANK", rank)),
        int(environment.get("LOCAL_WORLD_SIZE", "0")) == count,
        environment.get("MASTER_ADDR", LOOPBACK),
        int(environment.get("MASTER_PORT", "29500")),
        environment.get(STORE),
    )


def _of_slurm(environment: Mapping[str, str]) -> Place:
    one = int(environment.get("SLURM_STEP_NUM_NODES", "1")) == 1
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST", ""))
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    job = [environment.get(name, "0") for name in names]
    # A cluster that was set up again numbers its jobs from 1 again; their files may still be here.
    begin = [
        environment.get(name, "0") for name in ("SLURM_JOB_START_TIME", "SLURM_SRUN_COMM_PORT")
    ]
    meeting = Path(tempfile.gettempdir(), "-".join(["robustrun", str(_user()), *job, *begin]))
    return Place(
        int(environment["SLURM_PROCID"]),
        int(environment["SLURM_STEP_NUM_TASKS"]),
        int(environment.get("SLURM_LOCALID", "0")),
        one,
        environment.get("MASTER_ADDR", LOOPBACK if one else first_node(nodes)),
        int(environment.get("MASTER_PORT", PORTS[int("".join(job)) % len(PORTS)])),
        str(meeting) if one else None,  # a file, since torch's store listens to every interface
    )


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def first_node(nodes: str) -> str:
    """`gpu[03-06,9],login` -> `gpu03`: the first machine of Slurm's list."""
    match = re.match(r"([^\[,]*)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    assert match is not None  # it matches the empty string
    name, number, rest = match.groups("")
    return f"{name}{number}{rest}"
