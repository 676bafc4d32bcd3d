"""How busy the GPU is in training steps and attacks: kernels, gaps, what the host waits for."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_steps import METHODS
from benchmarks.networks import Data, plain_config, runtime_for, trained
from benchmarks.pgd_evaluation import evaluation
from benchmarks.settings import Settings
from benchmarks.timing import Row
from benchmarks.training_step import ours, several
from robustrun.types import Attack

GAP = 10.0  # microseconds without work that count as a gap
LONGEST = 8  # kernels that are named
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class Span:
    """What the device did from `start` to `end`, in microseconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Use:
    """What the device did in a piece of work."""

    seconds: float  # of the work, by the clock
    busy: float  # share of it in which something ran on the device
    kernels: int
    gaps: int  # of more than GAP between the first kernel and the last
    in_gaps: float  # share of the seconds
    longest: tuple[tuple[str, float], ...]  # kernels by name, and their share of the busy time

    def __str__(self) -> str:
        parts = "; ".join(f"{share:.0%} {name[:60]}" for name, share in self.longest)
        return (
            f"{self.seconds:.3f} s, busy {self.busy:.0%}, {self.kernels:,} kernels, "
            f"{self.gaps:,} gaps of more than {GAP:g} us ({self.in_gaps:.0%}); {parts}"
        )


def use(spans: list[Span], seconds: float) -> Use:
    """What `spans`, which may overlap, say of work that took so many seconds."""
    microseconds = 1e6 * seconds
    busy, gaps, end = 0.0, [], None
    for span in sorted(spans, key=lambda span: span.start):
        if end is not None and span.start > end:
            gaps.append(span.start - end)
        begin = span.start if end is None else max(span.start, end)
        busy += max(0.0, span.end - begin)
        end = span.end if end is None else max(end, span.end)
    long = [gap for gap in gaps if gap > GAP]
    shares = (len(spans), len(long), sum(long) / microseconds, _longest(spans))
    return Use(seconds, busy / microseconds, *shares)


def _longest(spans: list[Span]) -> tuple[tuple[str, float], ...]:
    times: dict[str, float] = {}
    for span in spans:
        times[span.name] = times.get(span.name, 0.0) + span.end - span.start
    total = sum(times.values()) or 1.0
    longest = sorted(times, key=times.__getitem__, reverse=True)[:LONGEST]
    return tuple((name, times[name] / total) for name in longest)


def waits(names: Iterable[str]) -> dict[str, int]:
    """How often the host waited for the device, and how often something was copied to it."""
    seen = list(names)
    counts = {name: seen.count(name) for name in WAITS}
    counts["copies to the host"] = sum("Memcpy DtoH" in name for name in seen)
    return {name: count for name, count in counts.items() if count}


def profiled(work: Callable[[], Any], device: torch.device) -> str:
    """What the device does in `work`, which is done once before; of a CPU, torch's operations."""
    on_gpu = device.type == "cuda"
    work()
    if on_gpu:
        torch.cuda.synchronize()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=kinds, acc_events=True) as found:
        began = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    events = list(found.events() or [])
    mine = [event for event in events if _runs_on(event, on_gpu)]
    spans = [Span(e.name, e.time_range.start, e.time_range.end) for e in mine]
    return f"{use(spans, seconds)}; host: {waits(event.name for event in events) or 'no waits'}"


def _runs_on(event: Any, gpu: bool) -> bool:
    if gpu:
        return bool(event.device_type.name == "CUDA")
    return event.cpu_parent is None


def works(
    data: Data, settings: Settings, found: dict[str, str]
) -> Mapping[str, Callable[[], list[Row]]]:
    """What is profiled, the most telling first."""
    name = "ResNet-18" if settings.deep else "BN CNN"
    todo: dict[str, Callable[[], list[Row]]] = {
        f"{method} step, bfloat16": partial(_step, method, False, name, data, settings)
        for method in ("PGD-AT", "TRADES")
    }
    todo["PGD-20, bfloat16"] = partial(_pgd, name, data, settings)
    todo["parts of AutoAttack, bfloat16"] = partial(_parts, name, data, settings)
    if settings.deep:
        todo["PGD-AT step, compiled"] = partial(_step, "PGD-AT", True, name, data, settings)
    return todo


def _step(method: str, compiled: bool, name: str, data: Data, settings: Settings) -> list[Row]:
    how = METHODS[method]
    batch = how.batch(data, settings)
    step = ours(list(how.words), name, data, settings, "bfloat16", batch, compiled=compiled)
    steps = settings.sizes.steps
    print(f"{steps} steps: {profiled(several(step, steps), settings.device)}")
    return []


def _pgd(name: str, data: Data, settings: Settings) -> list[Row]:
    sizes = settings.sizes
    measured = data.measured(sizes.autoattack_images, settings.device)
    run = evaluation(name, data, settings, "bfloat16", measured, 20, sizes.batch)
    print(profiled(run, settings.device))
    return []


def _parts(name: str, data: Data, settings: Settings) -> list[Row]:
    """APGD, FAB-T and Square with few steps: enough to see how they wait."""
    runtime_for(settings, "bfloat16", work=1e12)
    model = trained(name, data, settings)
    x, y = data.measured(settings.sizes.autoattack_images, settings.device)
    parts = {"apgd_ce": "steps=10", "fab_t": "steps=10", "square": "queries=200"}
    for part, effort in parts.items():
        words = [f"attack={part}", f"attack.epsilon={data.epsilon}", f"attack.{effort}"]
        attack: Attack = plain_config(words).attack
        print(f"{part} ({effort}): {profiled(partial(attack, model, x, y), settings.device)}")
    return []
