"""How many whole epochs fit into a time limit: what a training with `training.seconds` asks."""

import logging
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Pace:
    """What steps of a training take on this machine."""

    step: float  # seconds, in the slowest of the processes
    steps: int  # of an epoch
    set_up: float  # seconds that the first steps took beside their own: compiling above all

    @property
    def epoch(self) -> float:
        """Seconds of an epoch's steps."""
        return self.step * self.steps


def epochs_that_fit(
    model: nn.Module, method: AnyMethod, train: Images, class_counts: Tensor, how: TrainingPlan
) -> int:
    """The epochs, at most `training.epochs`, whose steps take `training.seconds` on this machine.

    What comes before and between the steps (compiling, this measurement, validation) is not part of
    the limit. ConfigError if not even one epoch fits.
    """
    limit, most = how.training.seconds, how.training.epochs
    assert limit is not None
    pace = measured_pace(model, method, train, class_counts, how, MEASURING * limit)
    epochs = epochs_within(limit, most, pace)
    takes = f"takes {pace.epoch:.3g} s here ({pace.steps:,} steps of {1000 * pace.step:.3g} ms)"
    if not epochs:
        raise ConfigError(f"training.seconds is {limit:g}, but one epoch {takes}.")
    log.info(
        "training.seconds=%g: an epoch %s, so that %d of at most %d fit; the same again is "
        "training.seconds=null training.epochs=%d",
        *(limit, takes, epochs, most, epochs),
    )
    return epochs


def epochs_within(limit: float, most: int, pace: Pace) -> int:
    """Whole epochs that fit into so many seconds, `most` of them at most; 0 if none does."""
    return min(most, int((1 - SPARE) * limit / pace.epoch))


def measured_pace(
    model: nn.Module,
    method: AnyMethod,
    train: Images,
    class_counts: Tensor,
    how: TrainingPlan,
    seconds: float,
) -> Pace:
    """What a step takes, found in about so many seconds of steps and at most an epoch.

    Measured are steps of the training itself: images, augmentation, the network as it is compiled,
    optimizer and weight average, but at a learning rate of 0. Network and random numbers are as
    before afterwards.
    """
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generators = rng_state()
    try:
        with modes_restored(model), synchronised(model, how.runtime.sync_batchnorm):
            state = start_state(model.train(), train, class_counts, how)
            return _pace(state, method, train, how, seconds)
    finally:
        model.load_state_dict(before)
        restore_rng(generators)


def _pace(
    state: TrainingState, method: AnyMethod, train: Images, how: TrainingPlan, seconds: float
) -> Pace:
    learner = state.learner
    steps = learner.batching.count(len(train))
    learner.batches = learner.total_steps - steps  # past whatever begins in the course of the run
    learner.base_rates = [0.0] * len(learner.base_rates)
    few = min(FEW, steps)
    first = _timed(state, method, train, how, steps - few, few)  # the last ones: another size
    (step,) = processes.agreed(_timed(state, method, train, how, 0, few) / few)
    count = min(int(seconds / step), steps)
    if count > few:
        (step,) = processes.agreed(_timed(state, method, train, how, 0, count) / count)
    return Pace(step, steps, max(0.0, first - few * step))


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
