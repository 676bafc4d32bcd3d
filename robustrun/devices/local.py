"""One process on this machine's processor or GPU: threads, precision and compilation."""

import ctypes
import logging
import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from robustrun.compute import processes
from robustrun.compute.threads import free_cores, set_parallelism
from robustrun.errors import ConfigError, require
from robustrun.types import DEVICES, Runtime

log = logging.getLogger(__name__)
Name = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16", "auto"]


@DEVICES.register("auto", "cpu", "cuda", "mps")
@dataclass(frozen=True)
class LocalDevice:
    """`auto` takes CUDA if it is there, then MPS, then the CPU.

    `threads: null` gives a CPU run as many threads as its work is worth (see `worthwhile_threads`),
    and cuts the batches of attacks into shares for all cores (`robustrun.compute.threads`); the
    numbers depend on nothing but the network, the batch and the machine, so that the same command
    gives the same bits again. `precision: auto` takes bfloat16 where the machine has units
    for it and the network is large enough to gain. `compile: auto` measures whether compiling pays
    in a training of this length, so that it may decide otherwise on a busy machine. With
    `precision: auto`, attacks on a CPU search with a folded copy of the network, also in float32.

    `processes` share each batch of a run on this machine, a GPU each; `sync_batchnorm` gives their
    batch norms the statistics of the whole batch.
    """

    ADDED_LATER: ClassVar[dict[str, Any]] = {"processes": 1, "sync_batchnorm": True}

    name: Name
    threads: int | None
    precision: Precision
    compile: Literal[True, False, "auto"]
    processes: int
    sync_batchnorm: bool

    def __post_init__(self) -> None:
        require(self.processes >= 1, "processes", self.processes, "at least 1")
        cores = os.cpu_count() or 1
        allowed = f"null, or from 1 to this machine's {cores} cores"
        require(
            self.threads is None or 1 <= self.threads <= cores, "threads", self.threads, allowed
        )

    def prepare(self, work: float) -> Runtime:
        """Set up this process; `work` is the multiply-adds of one forward pass of a batch."""
        kind = self._kind()
        work_here = work / processes.count() if kind == "cpu" else 0.0
        threads = self.threads or worthwhile_threads(work_here)
        torch.set_num_threads(threads)
        shares = (self.threads or free_cores()) if kind == "cpu" else 1
        set_parallelism(shares)
        keep_freed_memory()
        if kind == "cuda":
            if processes.count() > 1:
                torch.cuda.set_device(processes.local_rank() % torch.cuda.device_count())
            # Verdicts are float32: TF32 would round inputs of convolutions to 10 bits.
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.benchmark = True
        device = torch.device(kind)
        processes.settle_on(device)
        precision = self._precision(kind, work)
        layout = _memory_format(kind, precision)
        name = _device_name(device)
        copies = self.precision == "auto" and work_here >= FOLDING_PAYS_FROM
        how = (threads, shares, precision, self.compile, layout, self.sync_batchnorm, copies)
        return Runtime(device, name, *how)

    def _precision(self, kind: str, work: float) -> str:
        if self.precision == "bfloat16" and _computes_bfloat16_slowly(kind):
            log.warning(SLOW)
        if self.precision != "auto":
            return self.precision
        worth = work >= BFLOAT16_PAYS_FROM and has_bfloat16_units(kind)
        return "bfloat16" if worth else "float32"

    def _kind(self) -> str:
        if self.name == "auto":
            return fastest_kind()
        available = _available()
        if not available[self.name]:
            have = ", ".join(kind for kind in available if available[kind])
            raise ConfigError(
                f"device.name is {self.name!r}, but PyTorch finds no such device. "
                f"This machine has: {have}. robustrun doctor says why."
            )
        return self.name


def fastest_kind() -> str:
    """The kind of device that `auto` takes."""
    available = _available()
    return next(kind for kind in ("cuda", "mps", "cpu") if available[kind])


def _available() -> dict[str, bool]:
    return {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _mps()}


def worthwhile_threads(work: float) -> int:
    """1 for networks whose layers end before a second thread has woken, else all cores."""
    return free_cores() if work >= THREADS_PAY_FROM else 1


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # what malloc.h of the GNU C library calls them
_keeps = False


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for the next tensor of the same size.

    The GNU C library gives large blocks back to the system at once, which then clears them page by
    page when they are asked for again, which small networks spend much of their time on. Other
    libraries have other names for it and are left as they are.
    """
    _set_memory(True, 2**30, 2**31 - 1)


def return_freed_memory() -> None:
    """The thresholds at which the GNU C library arrives by itself once large blocks were freed."""
    _set_memory(False, 2**25, 2**26)


def keeps_freed_memory() -> bool:
    """Which of the two was called last."""
    return _keeps


def _set_memory(keeps: bool, large: int, trim: int) -> None:
    """From how many bytes on a block goes back at once, and how many free ones do."""
    global _keeps
    _keeps = keeps
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_MMAP_THRESHOLD, large)
        library.mallopt(M_TRIM_THRESHOLD, trim)


THREADS_PAY_FROM = 1e8
BFLOAT16_PAYS_FROM = 1e8
FOLDING_PAYS_FROM = 1e8
SLOW = (
    "precision=bfloat16: this machine computes bfloat16 no faster than float32, and may take up to "
    "ten times as long; precision=auto takes it only where it is faster"
)


def has_bfloat16_units(kind: str) -> bool:
    """Whether products of bfloat16 are computed faster than those of float32: on a CPU by AMX, or
    by AMD's vector units. Intel's have the same instruction, and it reaches half of what float32
    does (docs/performance.md)."""
    if kind == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    vectors = torch.cpu._is_avx512_bf16_supported() and "Intel" not in _vendor()
    return kind == "cpu" and (torch.cpu._is_amx_tile_supported() or vectors)


def _computes_bfloat16_slowly(kind: str) -> bool:
    """Whether it is known to. Of processors this was measured on x86 alone."""
    known = kind == "cuda" or platform.machine().lower() in ("x86_64", "amd64")
    return kind in ("cpu", "cuda") and known and not has_bfloat16_units(kind)


def _memory_format(kind: str, precision: str) -> torch.memory_format:
    """Channels last is what oneDNN's kernels take, and cuDNN's for its matrix units."""
    pays = kind == "cpu" or (kind == "cuda" and precision == "bfloat16")
    return torch.channels_last if pays else torch.contiguous_format


def _mps() -> bool:
    return torch.backends.mps.is_available()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def processor_name() -> str:
    """The processor's own name."""
    return _told_by_linux("model name") or platform.processor() or platform.machine()


def _vendor() -> str:
    return _told_by_linux("vendor_id") or platform.processor()


def _told_by_linux(key: str) -> str:
    """What a file of Linux, which `platform` does not read, says of the first processor, or ""."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    values = [line.partition(":")[2].strip() for line in lines if line.startswith(key)]
    return next(iter(values), "")
