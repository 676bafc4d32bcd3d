"""What one core and one disk of this machine do, and how large runs and networks are: the measured
inputs of benchmarks/scaling.py, printed as its arguments.

    python -m benchmarks.inputs
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from benchmarks.networks import plain_config
from robustrun.compute.cost import multiply_adds
from robustrun.datasets.image_reader import ImageReader
from robustrun.run_folder import checkpoint
from robustrun.storage.journal import Journal

ROUNDS = 5
DECODED = 50  # images of a turn
WORDS = {
    "resnet50": ["model=torchvision", "model.architecture=resnet50", "dataset=imagenet"],
    "preact18": ["model=preact_resnet18", "dataset=cifar10"],
    "wrn28-10": ["model=wide_resnet28_10", "dataset=cifar10"],
    "wrn70-16": [
        "model=wide_resnet",
        "model.depth=70",
        "model.widen_factor=16",
        "dataset=cifar10",
    ],
}
SIZES = {"resnet50": ((3, 224, 224), 1000)}  # shape and classes; the others: CIFAR-10's
REST = ("checkpoint", "figures")  # folders of a run that a finished one can do without


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for argument, value in measured(folder):
            print(f"--{argument} {value:,.4g}".replace(",", ""))


def measured(folder: Path) -> Iterator[tuple[str, float]]:
    """Names and values, as they are measured."""
    yield "decoded-per-second", DECODED / seconds(decoding(folder))
    yield "notes-per-second", 1 / seconds(noting(folder))
    for name, words in WORDS.items():
        shape, classes = SIZES.get(name, ((3, 32, 32), 10))
        network = plain_config(words).model.build(shape, classes)
        yield f"{name}-gmac", multiply_adds(network, shape) / 1e9
        yield f"{name}-parameters", sum(weight.numel() for weight in network.parameters()) / 1e6
        if name == "resnet50":
            yield "checkpoint-seconds", seconds(saving(folder, network))
    yield from a_run(folder)


def seconds(work: Callable[[], None]) -> float:
    """The median of some turns, after one that is not timed."""
    work()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def decoding(folder: Path) -> Callable[[], None]:
    """Reads one photograph-like JPEG of ImageNet's usual 500 x 375 pixels, cropped to 224 x 224."""
    coarse = torch.rand(1, 3, 47, 62, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.interpolate(coarse, (375, 500), mode="bicubic").clamp(0, 1)
    grain = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(1))
    pixels = ((smooth + 0.04 * grain).clamp(0, 1) * 255).byte()[0].permute(1, 2, 0)
    file = folder / "image.jpg"
    Image.fromarray(pixels.numpy()).save(file, quality=90)
    print(f"# the JPEG has {file.stat().st_size:,} bytes", file=sys.stderr)
    reader = ImageReader((3, 224, 224), None, False, None, random_crop=True)

    def work() -> None:
        for seed in range(DECODED):
            reader(file, seed)

    return work


def noting(folder: Path) -> Callable[[], None]:
    journal = Journal(folder / "journal", "a benchmark")
    return lambda: journal.note("pgd batch 0", {"right": list(range(128)), "seconds": 1.0})


def saving(folder: Path, network: nn.Module) -> Callable[[], None]:
    """Weights, momentum and the best weights, as a training's state has them."""
    state = {name: {k: v.clone() for k, v in network.state_dict().items()} for name in "abc"}
    return lambda: checkpoint.save(folder / "checkpoint", state)


def a_run(folder: Path) -> Iterator[tuple[str, float]]:
    """The default run (TRADES on the digits) on one thread: time, files, bytes."""
    words = ["device.threads=1", f"hydra.run.dir={folder / 'run'}"]
    began = time.perf_counter()
    command = [sys.executable, "-m", "robustrun", *words]
    subprocess.run(command, cwd=folder, check=True, env=os.environ, stdout=subprocess.DEVNULL)
    yield "run-seconds", time.perf_counter() - began
    files = list((folder / "run").rglob("*"))
    kept = [path for path in files if path.relative_to(folder / "run").parts[0] not in REST]
    for name, paths in (("run", files), ("small-run", kept)):
        yield f"{name}-entries", len(paths) + 1  # and the folder itself
        yield f"{name}-kilobytes", sum(p.stat().st_size for p in paths if p.is_file()) / 1e3
    yield "results-kilobytes", (folder / "run" / "results.json").stat().st_size / 1e3


if __name__ == "__main__":
    main()
