"""The machine as this process may use it: processor, cores, memory, disk, and what limits them."""

import math
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from robustrun.command_line.diagnosis.findings import Finding, Section, State, size
from robustrun.compute.control_groups import cpu_quota, group_files, read

GIVEN = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")  # what a run's cores are limited by
LITTLE_MEMORY, LITTLE_DISK = 2e9, 2e9  # bytes; torch takes half of one, a run of digits 3 MB


@dataclass(frozen=True)
class Cores:
    """How many cores there are, how many this process may use, and the time that it gets."""

    machine: int
    allowed: int  # by the system, and by the quota, rounded up
    quota: float | None  # cores' worth of time, of a container; None: no limit

    @property
    def given(self) -> tuple[str, int] | None:
        """The variable that limits a run's cores further, and to how many."""
        for name in GIVEN:
            count = os.environ.get(name, "")
            if count.isdecimal() and 0 < int(count) < self.allowed:
                return name, int(count)
        return None

    @property
    def used(self) -> int:
        """The cores that a run takes by itself."""
        return self.given[1] if self.given else self.allowed


def section() -> Section:
    return Section("Machine", [_processor(), _cores(cores()), _memory(), *_limit(), _disk()])


def _processor() -> Finding:
    name = _linux("/proc/cpuinfo", "model name") or platform.processor() or "unknown"
    return Finding("processor", f"{name}, {platform.machine()}")


def cores() -> Cores:
    count = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    quota = cpu_quota()
    paid = count if quota is None else math.ceil(quota)
    return Cores(count, min(allowed, count, paid), quota)


def _linux(file: str, key: str) -> str:
    """What a file of Linux says of a key; empty where it says nothing."""
    lines = read(Path(file)).splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _cores(found: Cores) -> Finding:
    text = f"{found.allowed}"
    if found.allowed < found.machine:
        text += f" of the machine's {found.machine}, as the system allows this process"
    if found.quota is not None and found.quota < found.machine:
        text += f"; this container gets the time of {found.quota:.1f}"
        return Finding("cores", text, "remark")
    return Finding("cores", text)


def memory() -> tuple[float, float] | None:
    """Bytes of memory, and of these the free ones, as far as this process may use them."""
    total, free = (_kilobytes(key) for key in ("MemTotal", "MemAvailable"))
    if not total:
        return None
    limits = [int(text) for text in group_files("memory.max") if text.isdecimal()]
    used = [int(text) for text in group_files("memory.current") if text.isdecimal()]
    if limits and min(limits) < total:
        left = min(limits) - (used[0] if used else 0)
        return float(min(limits)), float(max(min(free, left), 0))
    return total, free


def _kilobytes(key: str) -> float:
    number = _linux("/proc/meminfo", key).partition(" ")[0]
    return 1024.0 * int(number) if number.isdecimal() else 0.0


def swapped() -> float:
    """Bytes of all programs that lie on the disk because memory was full."""
    return _kilobytes("SwapTotal") - _kilobytes("SwapFree")


def _memory() -> Finding:
    if (found := memory()) is None:
        return Finding("memory", "not told by this system")
    total, free = found
    state: State = "remark" if free < LITTLE_MEMORY else "fine"
    swap = f"; {size(swapped())} swapped to the disk" if swapped() > 0 else ""
    return Finding("memory", f"{size(total)}, of which {size(free)} are free{swap}", state)


def address_space() -> int | None:
    """The bytes of addresses that this process may have (`ulimit -v`); None: any number."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _limit() -> list[Finding]:
    limit = address_space()
    if limit is None:
        return []
    text = f"limited to {size(limit)} of addresses (ulimit -v), and PyTorch reserves many more "
    return [Finding("", f"{text}than it fills: a run may say that memory is full", "remark")]


def _disk() -> Finding:
    free = shutil.disk_usage(".").free
    state: State = "remark" if free < LITTLE_DISK else "fine"
    return Finding("disk of this folder", f"{size(free)} free", state)
