"""The share of a training epoch that passes outside the network's forward and backward passes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.networks import Data, plain_config, runtime_for, training_precisions, untrained
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare
from robustrun.experiment import place
from robustrun.training import fit, validation
from robustrun.training.settings import TrainingPlan


def rows(data: Data, settings: Settings) -> list[Row]:
    deep = settings.deep and settings.sizes.rounds >= 5  # a whole epoch: not in a quick run
    names = ["BN CNN", *(["PreAct ResNet-18"] if deep else [])]
    return [row for name in names for row in _of(name, data, settings)]


def _of(name: str, data: Data, settings: Settings) -> list[Row]:
    count = min(settings.sizes.epoch_images, len(data.train))
    contestants = [
        Contestant(f"robustrun {p}", partial(_share, name, data, settings, count, p), ours=True)
        for p in training_precisions(settings)
    ]
    return compare(
        "own overhead of an epoch (TRADES)",
        name,
        contestants,
        rounds=1,
        items=count,
        meaning="share outside forward and backward",
        device=settings.device,
        goal="under 3%",
        warm=False,
    )


def _share(name: str, data: Data, settings: Settings, count: int, precision: str) -> float:
    words = ["method=trades", f"attack.epsilon={data.epsilon}", "training.epochs=1"]
    words += ["training.validation_fraction=0", "training.validation_every=1"]
    words += [f"training.batch_size={settings.sizes.step_batch}", "recipe.ema_decay=0.999"]
    cfg = plain_config(words)
    runtime = runtime_for(settings, precision, work=1e12)
    model = untrained(name, data, settings.seed)
    place(model, runtime)
    images = data.train.subset(torch.arange(count)).to(settings.device)
    counts = torch.bincount(data.train.labels, minlength=data.classes)
    how = TrainingPlan(cfg.training, cfg.optimizer, cfg.schedule, runtime, settings.seed)
    with inside(settings.device) as clock:
        fitted = fit.fit(model, cfg.method, images, None, counts, how, lambda history: None)
    return 1 - clock.inside / fitted.seconds


class Clock:
    """Seconds inside forward and backward passes, until it is stopped."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.inside = 0.0
        self.running = True
        self.depth = 0

    @contextmanager
    def timed(self) -> Iterator[None]:
        if not self.running or self.depth:
            yield
            return
        self.depth += 1
        began = self._now()
        try:
            yield
        finally:
            self.inside += self._now() - began
            self.depth -= 1

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


@contextmanager
def inside(device: torch.device) -> Iterator[Clock]:
    """While it is open, a clock runs whenever a network is passed forward or backward in the
    training of an epoch; what `fit` measures at its end is no part of that."""
    clock = Clock(device)
    validate = validation.validated

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with clock.timed():
                return work(*args, **kwargs)

        return run

    def validated(*args: Any) -> Any:
        clock.running = False
        return validate(*args)

    with (
        patch.object(fit, "validated", validated),
        patch.object(nn.Module, "__call__", timed(nn.Module.__call__)),
        patch.object(torch.autograd, "grad", timed(torch.autograd.grad)),
        patch.object(Tensor, "backward", timed(Tensor.backward)),
    ):
        yield clock
