"""How many whole epochs fit into a time limit: what a training with `training.seconds` asks."""

import logging
import time
from itertools import islice

import torch
from torch import Tensor, nn

from robustrun.compute import processes
from robustrun.compute.batch_norm import synchronised
from robustrun.compute.modes import modes_restored
from robustrun.compute.random_state import restore_rng, rng_state
from robustrun.errors import ConfigError
from robustrun.training.batching import shuffled
from robustrun.training.fit import scheduled_step, start_state
from robustrun.training.settings import TrainingPlan
from robustrun.training.state import TrainingState
from robustrun.types import AnyMethod, Images

log = logging.getLogger(__name__)
FEW = 3  # steps that set up, or compile, what the rest needs; and as many for a first impression
MEASURING = 0.02  # share of the limit that is measured, beside it
SPARE = 0.02  # share of the limit that stays free: a machine that warms up may become slower


def epochs_that_fit(
    model: nn.Module, method: AnyMethod, train: Images, class_counts: Tensor, how: TrainingPlan
) -> int:
    """The epochs, at most `training.epochs`, whose steps take `training.seconds` on this machine.

    Measured are steps of the training itself: images, augmentation, the network as it is compiled,
    optimizer and weight average, but at a learning rate of 0. Network and random numbers are as
    before afterwards. What comes before and between the steps (compiling, this measurement,
    validation) is not part of the limit. ConfigError if not even one epoch fits.
    """
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generators = rng_state()
    try:
        with modes_restored(model), synchronised(model, how.runtime.sync_batchnorm):
            step, steps = _seconds_of_step(model.train(), method, train, class_counts, how)
    finally:
        model.load_state_dict(before)
        restore_rng(generators)
    return _fitting(step, steps, how)


def _fitting(step: float, steps: int, how: TrainingPlan) -> int:
    """Epochs of so many steps, of so many seconds each, within the limit."""
    limit, most = how.training.seconds, how.training.epochs
    assert limit is not None
    epochs = min(most, int((1 - SPARE) * limit / (step * steps)))
    takes = f"takes {step * steps:.3g} s here ({steps:,} steps of {1000 * step:.3g} ms)"
    if not epochs:
        raise ConfigError(f"training.seconds is {limit:g}, but one epoch {takes}.")
    log.info(
        "training.seconds=%g: an epoch %s, so that %d of at most %d fit; the same again is "
        "training.seconds=null training.epochs=%d",
        *(limit, takes, epochs, most, epochs),
    )
    return epochs


def _seconds_of_step(
    model: nn.Module, method: AnyMethod, train: Images, class_counts: Tensor, how: TrainingPlan
) -> tuple[float, int]:
    """Seconds of a step in the slowest of the processes, and how many an epoch has."""
    assert how.training.seconds is not None
    state = start_state(model, train, class_counts, how)
    learner = state.learner
    steps = learner.batching.count(len(train))
    learner.batches = learner.total_steps - steps  # past whatever begins in the course of the run
    learner.base_rates = [0.0] * len(learner.base_rates)
    few = min(FEW, steps)
    _timed(state, method, train, how, steps - few, few)  # the last ones: another size of batch
    (rough,) = processes.agreed(_timed(state, method, train, how, 0, few) / few)
    count = min(int(MEASURING * how.training.seconds / rough), steps)
    if count <= few:
        return rough, steps
    (seconds,) = processes.agreed(_timed(state, method, train, how, 0, count) / count)
    return seconds, steps


def _timed(
    state: TrainingState,
    method: AnyMethod,
    train: Images,
    how: TrainingPlan,
    first: int,
    count: int,
) -> float:
    """Seconds of so many steps of an epoch, from the step `first` on."""
    began, device = time.monotonic(), how.runtime.device
    batches = shuffled(train, state.learner.batching, how.seed, 1, device, first)
    for x, y in islice(batches, count):
        scheduled_step(state, method, x, y, how)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - began
