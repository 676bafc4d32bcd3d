"""What a training would do with other batch sizes here: seconds, epochs, memory, and its words.

    python -m benchmarks.batch_sizes +experiment=record [--sizes 256 512 1024] [--seconds 60]

The words are those of a run. For each size its own code makes network, images and steps, as it
does when it finds out how many epochs fit into `training.seconds`; nothing is trained.
"""

import argparse
import gc
import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from robustrun.configuration.objects import compose
from robustrun.configuration.run_config import RunConfig
from robustrun.configuration.words import key, parse
from robustrun.console import step
from robustrun.datasets.run_data import Data
from robustrun.errors import ConfigError, RobustrunError
from robustrun.experiment import build, load_data
from robustrun.training.batching import require_a_batch
from robustrun.training.settings import TrainingPlan
from robustrun.training.time_limit import Pace, epochs_within, measured_pace
from robustrun.types import HasProcesses, Runtime

TIMES = (1, 2, 4)  # the configured batch size, unless sizes are given
HEADER = (
    "batch size",
    "ms a step",
    "images/s",
    "s an epoch",
    "epochs",
    "      lr",
    "peak GiB",
    "set-up s",
    "computed in",
)


@dataclass(frozen=True)
class Measured:
    """What one batch size takes."""

    pace: Pace
    runtime: Runtime
    peak: float | None  # bytes on the device; None where they are not counted


def main() -> int:
    arguments = _arguments()
    try:
        calibrate(arguments.overrides, arguments.sizes, arguments.seconds)
    except RobustrunError as error:
        print(f"batch_sizes: {error}", file=sys.stderr)
        return 2
    return 0


def calibrate(words: list[str], sizes: list[int] | None, seconds: float) -> None:
    """Print what is found of each batch size as soon as it is; `seconds` of steps for all together.
    RobustrunError as from a run of these words."""
    given = compose(words)
    if isinstance(given.device, HasProcesses) and given.device.processes > 1:
        raise ConfigError(
            f"device.processes is {given.device.processes}, but batch sizes are measured in one "
            "process. Leave it out."
        )
    sizes = sizes or [times * given.training.batch_size for times in TIMES]
    lines = {size: with_batch_size(words, given, size) for size in sizes}
    runs = {size: compose(line) for size, line in lines.items()}
    with TemporaryDirectory() as folder:
        data = load_data(given, Path(folder))
    for size in runs:
        require_a_batch(size, len(data.train))
    print(_about(given, len(data.train)), "  ".join(HEADER), sep="\n\n", flush=True)
    for size, run in runs.items():
        with step(f"batch size {size}"):
            found = measured(run, data, seconds / len(runs))
        print(_row(run, found, len(data.train)), flush=True)
        if found is not None:
            print(f"    {shlex.join(['robustrun', *lines[size]])}", flush=True)


def with_batch_size(words: list[str], given: RunConfig, size: int) -> list[str]:
    """The words of the run `given` with another batch size, and what to begin with beside it.

    The learning rate grows with the square root of the batch size (Krizhevsky 2014,
    https://arxiv.org/abs/1404.5997; Hoffer et al. 2017, https://arxiv.org/abs/1705.08741). The
    weight average covers as many epochs as before (Busbridge et al. 2023,
    https://arxiv.org/abs/2307.13813).
    """
    times = size / given.training.batch_size
    if times == 1:
        return words
    new = {"training.batch_size": str(size)}
    lr, decay = _rate(given), given.training.ema_decay
    if lr is not None:
        new["optimizer.lr"] = f"{math.sqrt(times) * lr:.4g}"
    if decay is not None:
        new["training.ema_decay"] = f"{decay**times:.6g}"
    others = [word for word in words if key(parse(word)) not in new]
    return [*others, *(f"{name}={value}" for name, value in new.items())]


def measured(run: RunConfig, data: Data, seconds: float) -> Measured | None:
    """The pace of the run's steps on its device; None if its memory does not suffice."""
    _forget()
    try:
        model, runtime = build(run, data)
        plan = TrainingPlan(run.training, run.optimizer, run.schedule, runtime, run.seed)
        train = data.train.to(runtime.device)
        pace = measured_pace(model, run.method, train, data.class_counts, plan, seconds)
    except torch.OutOfMemoryError:
        return None
    on_gpu = runtime.device.type == "cuda"
    return Measured(pace, runtime, torch.cuda.max_memory_allocated() if on_gpu else None)


def _forget() -> None:
    """Neither memory nor compiled code of another batch size is left: after a second one,
    torch.compile would compile for any."""
    if "torch._dynamo" in sys.modules:  # else nothing was compiled, and it takes long to import
        torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _rate(run: RunConfig) -> float | None:
    """The learning rate, where the optimizer has a key for it."""
    rate: float | None = getattr(run.optimizer, "lr", None)
    return rate


def _about(given: RunConfig, images: int) -> str:
    training = given.training
    limit = "null" if training.seconds is None else f"{training.seconds:g}"
    return (
        f"{images:,} training images; at most an epoch of each batch size is measured.\n"
        f"epochs: of training.epochs={training.epochs}, those that training.seconds={limit} "
        "leaves time for.\n"
        "set-up: compiling and the like, which is in no other column and not in the limit.\n"
        f"lr: that of batch size {training.batch_size} by the square-root rule; a weight average "
        "covers as many\nepochs as with that. Both are where to begin a search, not its result."
    )


def _row(run: RunConfig, found: Measured | None, images: int) -> str:
    training, lr = run.training, _rate(run)
    if found is None:
        return f"{training.batch_size:>{len(HEADER[0])}}  does not fit into the memory"
    pace, runtime, limit = found.pace, found.runtime, training.seconds
    epochs = training.epochs if limit is None else epochs_within(limit, training.epochs, pace)
    cells = [
        str(training.batch_size),
        f"{1000 * pace.step:.4g}",
        f"{images / pace.epoch:,.0f}",
        f"{pace.epoch:.4g}",
        str(epochs),
        "-" if lr is None else f"{lr:.4g}",
        "-" if found.peak is None else f"{found.peak / 2**30:.3g}",
        f"{pace.set_up:.1f}",
        f"{runtime.precision}{', compiled' if runtime.compile else ''}; {runtime.device_name}",
    ]
    return "  ".join(cell.rjust(len(name)) for cell, name in zip(cells, HEADER, strict=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.batch_sizes", description=__doc__)
    sizes = "the configured one, its double and its fourfold unless given"
    parser.add_argument("--sizes", type=int, nargs="+", help=sizes)
    parser.add_argument("--seconds", type=float, default=60, help="of steps, of all sizes together")
    parser.add_argument("overrides", nargs="*", help="the words of the run")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    sys.exit(main())
