"""Whether a training is long enough for `torch.compile` to pay: what `device.compile=auto` asks."""

import copy
import logging
import math
import time

import torch
from torch import Tensor, nn

from robustrun.compute import processes
from robustrun.compute.batch_norm import synchronised
from robustrun.compute.batch_parts import cut
from robustrun.training.fit import train_batch
from robustrun.training.learner import Learner, new_learner
from robustrun.training.settings import TrainingPlan
from robustrun.types import AnyMethod, Images

log = logging.getLogger(__name__)
SHORTEST = 60.0  # seconds of training below which it is not even tried: compiling takes as long
TIMED = 3  # steps after the first, of which the fastest counts


def pays(
    model: nn.Module, method: AnyMethod, train: Images, class_counts: Tensor, how: TrainingPlan
) -> bool:
    """Whether the training ends sooner with its network compiled.

    It is found by measuring steps of the method, on a copy of the network and the first images of
    `train`. What was found, and after how many steps compiling breaks even, goes to the log.
    """
    device = how.runtime.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        learner = _learner(model, train, class_counts, how, compiled=False)
        plain = min(_seconds(learner, method, train, how))
        steps = _steps(learner.total_steps, plain, how.training.seconds)
        about = f"compile=auto: {steps:,} steps of {1000 * plain:.3g} ms"
        if steps * plain < SHORTEST:
            log.info("%s are too few to try compiling", about)
            return False
        try:
            learner = _learner(model, train, class_counts, how, compiled=True)
            times = _seconds(learner, method, train, how)
        except Exception as error:  # no compiler, or Python that cannot be followed
            log.warning("%s: compiling failed: %s", about, str(error).partition("\n")[0])
            return False
    return _worth(about, steps, plain, times)


def _steps(most: int, plain: float, limit: float | None) -> int:
    """Steps of the training, where a time limit may end it."""
    return most if limit is None else min(most, int(limit / plain))


def _worth(about: str, steps: int, plain: float, times: list[float]) -> bool:
    """Whether so many steps of `plain` seconds are more than what compiling takes, which the first
    of the compiled steps' `times` have in them."""
    fast = min(times)
    compiling = sum(times) - len(times) * fast
    needed = break_even(plain, fast, compiling)
    worth = steps > needed
    log.info(
        "%s; compiled %.3g ms, and %.0f s to compile, which breaks even after %s steps: %s",
        about,
        1000 * fast,
        compiling,
        f"{needed:,.0f}",
        "compiled" if worth else "not compiled",
    )
    return worth


def break_even(plain: float, fast: float, compiling: float) -> float:
    """After how many steps so many seconds of compiling have paid."""
    saved = plain - fast
    return compiling / saved if saved > 0 else math.inf


def _learner(
    model: nn.Module, train: Images, class_counts: Tensor, how: TrainingPlan, compiled: bool
) -> Learner:
    """One that trains a copy of the network."""
    network = copy.deepcopy(model)
    if compiled:
        network.compile()
    learner = new_learner(network.train(), train, class_counts, how)
    learner.batches = learner.total_steps - 1  # past whatever begins in the course of the run
    return learner


def _seconds(learner: Learner, method: AnyMethod, train: Images, how: TrainingPlan) -> list[float]:
    """Of several steps on the same batch, in the slowest of the processes; the first has to set
    up, or compile, what it needs."""
    size, device = min(how.training.batch_size, len(train)), how.runtime.device
    times: list[float] = []
    with synchronised(learner.model, how.runtime.sync_batchnorm):
        for x, y in cut(train.plain().batches(size, torch.arange(size), device)):
            times = [_seconds_of_step(learner, method, x, y, how) for _ in range(1 + TIMED)]
    return processes.agreed(*times)


def _seconds_of_step(
    learner: Learner, method: AnyMethod, x: Tensor, y: Tensor, how: TrainingPlan
) -> float:
    device, low = how.runtime.device, how.runtime.precision == "bfloat16"
    began = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        train_batch(learner, method, x, y)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
