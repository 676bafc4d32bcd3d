"""The processes that compute one run together, and what they tell each other.

One process is a group of one: nothing is sent, and nobody needs to ask whether there are others.
Rank 0 writes the run's folder and speaks; what decides the next step is agreed on by all.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from robustrun.compute import interrupts
from robustrun.compute.place import Place
from robustrun.errors import ConfigError, DataError, RobustrunError, RunFailure

# One process may attack its last batch for long while the others wait for it. That a process died
# is seen by its closed connection, not by the time.
PATIENCE = timedelta(days=7)
MEETING = timedelta(minutes=10)  # for all processes to come
JOINING = timedelta(minutes=2)  # for those that came to connect
LOOPBACK = {"linux": "lo", "darwin": "lo0"}  # the interface that leads nowhere


@dataclass(frozen=True)
class _Group:
    rank: int = 0
    count: int = 1
    local_rank: int = 0
    on_these_cores: int = 1  # processes that run on the same cores as this one
    store: Any = None  # torch's, for what is said when the group is broken
    processes: tuple[tuple[str, int], ...] = ()  # host and process id, by rank
    tensors: Any = None  # torch's group for tensors on the device; None: that of the processors


_group = _Group()
_joined = False
_alone = False
_meetings = 0  # of this process, so that each has keys of its own in the store


def rank() -> int:
    """This process's number, from 0."""
    return _group.rank


def count() -> int:
    """How many processes compute this run."""
    return _group.count


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return _group.rank == 0


def joined() -> bool:
    """Whether this process was started as one of a group, be it of one."""
    return _joined


def on_these_cores() -> int:
    """How many of the processes share the cores that this one may run on."""
    return _group.on_these_cores


def local_rank() -> int:
    """This process's number among those of its machine."""
    return _group.local_rank


@contextmanager
def together(place: Place) -> Iterator[None]:
    """In this context, this process is one of the group that `place` tells of."""
    global _group, _joined
    if place.count > 1 and dist.is_initialized():
        raise ConfigError("torch.distributed is set up already: leave that to robustrun.")
    _joined = True
    try:
        if place.count > 1:
            _group = _met(place)
        yield
        with suppress(RunFailure):  # of a broken group each leaves by itself
            wait_for_all()  # none closes its connections while another one still hears by them
            if place.store is not None and place.rank == 0:
                Path(place.store).unlink(missing_ok=True)
    finally:
        _joined, _group = False, _Group()
        if place.count > 1 and dist.is_initialized():
            dist.destroy_process_group()


def _met(place: Place) -> _Group:
    if place.one_machine and sys.platform in LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
        os.environ.setdefault("NCCL_SOCKET_IFNAME", LOOPBACK[sys.platform])
    store = _store(place)
    store.set(f"here/{place.rank}", "")
    with _while_all_live():
        store.wait([f"here/{rank}" for rank in range(place.count)], MEETING)
    with _while_all_live():
        dist.init_process_group(
            "gloo", store=store, rank=place.rank, world_size=place.count, timeout=JOINING
        )
    _connections()._set_default_timeout(PATIENCE)
    global _group
    _group = _Group(place.rank, place.count)
    mine = [socket.gethostname(), os.getpid(), _cores()]
    everyone = exchange(mine)
    neighbours = sum(host == mine[0] and cores == mine[2] for host, _, cores in everyone)
    processes = tuple((host, number) for host, number, _ in everyone)
    return _Group(place.rank, place.count, place.local_rank, neighbours, store, processes)


def _connections() -> Any:
    return dist.distributed_c10d._get_default_group()._get_backend(torch.device("cpu"))


def _store(place: Place) -> Any:
    global _meetings
    _meetings += 1
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    meeting = f"robustrun/{attempt}/{_meetings}"
    return dist.PrefixStore(meeting, _meeting_place(place))  # type: ignore[attr-defined]


def _meeting_place(place: Place) -> Any:
    if place.store is not None:
        return dist.FileStore(place.store, place.count)  # type: ignore[attr-defined]
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return dist.TCPStore(  # type: ignore[attr-defined]
        place.address,
        place.port,
        place.count,
        is_master=place.rank == 0 and not agent,
        timeout=MEETING,
    )


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def settle_on(device: torch.device) -> None:
    """From now on tensors on `device` are summed by its own means: NCCL, where each process has a
    GPU for itself."""
    global _group
    if _group.count == 1 or device.type != "cuda":
        return
    gpus = exchange(str(torch.cuda.get_device_properties(device).uuid))
    group = dist.new_group(backend="nccl", timeout=PATIENCE) if len(set(gpus)) == count() else None
    _group = _Group(**{**vars(_group), "tensors": group})


@contextmanager
def alone() -> Iterator[None]:
    """In this context, this process does what no other one does: its warnings are told."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def speaks() -> bool:
    """Whether a warning of this process is one that no other process gives."""
    return is_first() or _alone


def tensor_group() -> Any:
    """torch's process group for tensors on the device; None: its default one."""
    return _group.tensors


# --- what is told ---------------------------------------------------------------------------------


@contextmanager
def _while_all_live() -> Iterator[None]:
    """RunFailure that says why the others do not answer, instead of torch's error."""
    try:
        yield
    except RuntimeError as error:
        reason = _soon(why_broken) or " ".join(str(error).split())
        raise RunFailure(f"The processes of this run lost each other: {reason}") from error


def _soon(answer: Callable[[], str | None]) -> str | None:
    """The answer, once there is one: a process closes its connections before it is gone."""
    for _ in range(20):
        if said := answer():
            return said
        time.sleep(0.1)
    return None


def exchange(value: Any) -> list[Any]:
    """What each process has, by rank: plain JSON values."""
    if _group.count == 1:
        return [value]
    mine = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    with _while_all_live():
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(_group.count)]
        dist.all_gather(sizes, torch.tensor([len(mine)]))
        longest = max(int(size) for size in sizes)
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(_group.count)]
        dist.all_gather(texts, torch.cat([mine, mine.new_zeros(longest - len(mine))]))
    pairs = zip(texts, sizes, strict=True)
    return [json.loads(text[: int(size)].numpy().tobytes()) for text, size in pairs]


def told(value: Any) -> Any:
    """What rank 0 has, on every process: a plain JSON value."""
    return exchange(value if is_first() else None)[0]


def wait_for_all() -> None:
    """Return when every process is here."""
    agreed(0)


def agreed(*numbers: float) -> list[float]:
    """The largest of what the processes have, number by number."""
    if _group.count == 1:
        return [float(number) for number in numbers]
    largest = torch.tensor(numbers, dtype=torch.float64)
    with _while_all_live():
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    values: list[float] = largest.tolist()
    return values


def combined(work: Callable[[], Any]) -> list[Any]:
    """What `work` returns on each process, by rank (plain JSON values). Where it raises on one, it
    fails on all."""
    if _group.count == 1:
        return [work()]
    value, error = None, None
    try:
        value = work()
    except Exception as problem:
        error = problem
    users = isinstance(error, RobustrunError)
    answers = exchange([value, None if error is None else _described(error), users])
    if error is not None:
        raise error
    for number, (_, failure, by_user) in enumerate(answers):
        if failure is not None:
            raise (DataError if by_user else RunFailure)(f"Process {number}: {failure}")
    return [answer for answer, _, _ in answers]


def _described(error: BaseException) -> str:
    own = isinstance(error, RobustrunError | RunFailure)
    return str(error) if own else f"{type(error).__name__}: {error}"


# --- tensors --------------------------------------------------------------------------------------


def summed(values: Tensor) -> Tensor:
    """The sum over the processes, to the same bits on each, written over `values`."""
    if _group.count > 1:
        with _while_all_live():
            dist.all_reduce(values, group=_group.tensors)
    return values


def gathered(values: Tensor) -> list[Tensor]:
    """What each process has, by rank: tensors of the same shape."""
    if _group.count == 1:
        return [values]
    everyone = [torch.empty_like(values) for _ in range(_group.count)]
    with _while_all_live():
        dist.all_gather(everyone, values.contiguous(), group=_group.tensors)
    return everyone


def sum_flat(tensors: Iterable[Tensor]) -> None:
    """Write the sum over the processes over each tensor; all of them travel as one."""
    parts = list(tensors)
    if _group.count == 1 or not parts:
        return
    flat = summed(torch.cat([part.reshape(-1) for part in parts]))
    pieces = torch.split(flat, [part.numel() for part in parts])
    for part, total in zip(parts, pieces, strict=True):
        part.copy_(total.view(part.shape))


# --- when one is lost -----------------------------------------------------------------------------


def leave_word(error: BaseException) -> None:
    """Let rank 0 know why this process ends, should it ask; a signal that it got is no reason."""
    if _group.store is not None:
        word = "" if isinstance(error, interrupts.STOPPED) else _described(error)
        with suppress(RuntimeError):  # nobody keeps the store any more
            _group.store.set(f"ended/{_group.rank}", word)


def why_broken() -> str | None:
    """Why another process ended, as far as that can be seen; None if all are there, or ended by a
    signal as this one."""
    others = [number for number in range(_group.count) if number != _group.rank]
    words = {number: _word(number) for number in others}
    for number, word in words.items():
        if word:
            return f"process {number} ended: {word}"
    for number, (host, process) in enumerate(_group.processes):
        silent = number in others and words[number] is None
        if silent and host == socket.gethostname() and not _lives(process):
            return f"process {number} of {_group.count} was killed, perhaps for its memory."
    return None


def _word(number: int) -> str | None:
    """What a process left before it ended."""
    with suppress(RuntimeError):  # its keeper is gone
        if _group.store is not None and _group.store.check([f"ended/{number}"]):
            text: str = _group.store.get(f"ended/{number}").decode()
            return text
    return None


def _lives(process: int) -> bool:
    """Whether there is such a process, and not only its entry that waits to be read."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a system without /proc
        return True
