"""How fast AutoAttack can be at most on this machine: the passes that it needs, each at the speed
of a full batch.

    python -m benchmarks.bound [--autoattack PATH] [--effort 0.1] [--networks "BN CNN" ...]

First the passes on an image that stands, counted here and in the authors' code. Then, for each
network, the seconds of both on the same images in turns, and the bound: the operations that were
counted during a run, at the rates that this network's own passes reach alone, in batches of
`--batch`. Where images leave, batches are smaller and slower than that; the bound does not know it.
"""

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import autoattack, peers
from benchmarks.networks import PRECISIONS, Data, load_data, runtime_for, trained
from benchmarks.peak import peaks
from benchmarks.settings import FULL, Settings
from benchmarks.timing import Row
from robustrun.attacks.search.ascent import gradient
from robustrun.compute.search_copy import as_bfloat16
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.search_networks import SearchNetworks, search_networks
from robustrun.evaluation.setting import Setting
from robustrun.experiment import place

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[1]
BUSY = 0.5  # seconds that each rate is measured for, three times
Kind = tuple[str, bool]  # precision; whether a gradient follows


@dataclass
class Operations:
    """Multiply-adds, twice, of forward passes and input gradients, by kind of pass."""

    by_kind: dict[Kind, float] = field(default_factory=lambda: defaultdict(float))

    def seconds(self, rates: dict[Kind, float]) -> float:
        return sum(count / rates[kind] for kind, count in self.by_kind.items())

    def of(self, precision: str) -> float:
        return sum(count for (name, _), count in self.by_kind.items() if name == precision)


@contextmanager
def counted() -> Iterator[Operations]:
    """While it is open, the operations of all convolutions and linear layers are counted. An input
    gradient is taken to cost as much as the forward pass."""
    found, notes = Operations(), []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            low, back = torch.is_autocast_enabled("cpu"), output.requires_grad
            forward = 2.0 * output.numel() * layer.weight[0].numel()
            notes.append((("bfloat16" if low else "float32", back), forward * (1 + back)))

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        yield found
    finally:
        handle.remove()
        for kind, count in notes:
            found.by_kind[kind] += count


def rates(networks: SearchNetworks, x: Tensor) -> dict[Kind, float]:
    """Operations a second of each kind of pass over the images `x`, alone."""
    assert networks.fast is not None
    ways: dict[str, nn.Module] = {"float32": networks.fast, "bfloat16": as_bfloat16(networks.fast)}
    found: dict[Kind, float] = {}
    for precision, network in ways.items():
        found[precision, True] = _rate(partial(gradient, partial(_sum, network), x))
        found[precision, False] = _rate(partial(torch.no_grad()(network), x))
    return found


def _sum(network: nn.Module, x: Tensor) -> Tensor:
    total: Tensor = network(x).sum()
    return total


def _rate(work: Callable[[], object]) -> float:
    with counted() as once:
        work()
    operations, found = sum(once.by_kind.values()), []
    for _ in range(3):
        passes, began = 0, time.perf_counter()
        while time.perf_counter() - began < BUSY:
            work()
            passes += 1
        found.append(operations * passes / (time.perf_counter() - began))
    return statistics.median(found)


# --- the passes on an image that stands -----------------------------------------------------------


class Standing(nn.Module):
    """Right by so much that nothing fools it; counts the images that pass through it."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0  # forward and backward
        self.layer = nn.Linear(3 * 8 * 8, 10)
        with torch.no_grad():
            self.layer.weight.mul_(1e-3)
            self.layer.bias.copy_(torch.arange(10) * 0.1)
            self.layer.bias[0] = 1e4

    def forward(self, x: Tensor) -> Tensor:
        self.passed += len(x)
        if x.requires_grad and torch.is_grad_enabled():
            x = x.view_as(x)
            x.register_hook(self._back)  # type: ignore[no-untyped-call]
        logits: Tensor = self.layer(x.flatten(1))
        return logits

    def _back(self, slope: Tensor) -> None:
        self.passed += len(slope)


def passes(settings: Settings) -> str:
    """The passes of each part on an image that stands, in forward passes."""
    x, y = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, dtype=torch.int64)
    lines = ["| passes on an image that stands | here | authors' code |", "|---|---|---|"]
    for part in autoattack.PARTS:
        here, there = Standing(), Standing()
        autoattack.attack(part, 8 / 255, settings)(here, x, y)
        told = "-"
        if "AutoAttack" in settings.paths:
            autoattack.official_attack(part, there, 8 / 255, settings).run_standard_evaluation(x, y)
            told = f"{there.passed:,}"
        lines.append(f"| {part} | {here.passed:,} | {told} |")
    return "\n".join(lines)


# --- seconds, and the bound -----------------------------------------------------------------------


def rows(name: str, data: Data, settings: Settings) -> list[str]:
    """Lines of the second table."""
    found = autoattack.compared(name, data, settings, with_official=bool(settings.paths))
    authors = [row for row in found if not row.ours]
    limits = _limits(name, data, settings)
    own = [row for row in found if row.ours]
    return [_line(row, authors, *limit) for row, limit in zip(own, limits, strict=True)]


def _limits(name: str, data: Data, settings: Settings) -> list[tuple[float, float]]:
    """Of each of PRECISIONS: seconds at the speed of this network's passes, and at the peak."""
    x, _ = data.measured(settings.sizes.batch, CPU)
    runtime = runtime_for(settings, "bfloat16", work=1e12)
    model = trained(name, data, settings).requires_grad_(False)
    place(model, runtime)
    images = TensorImages(x, torch.zeros(len(x), dtype=torch.int64))
    networks = search_networks(model, images, Setting(0, len(x), CPU, "bfloat16"))
    speeds, best = rates(networks, x), peaks(CPU)
    peak = {p: max(best[f"GEMM {p}"], best[f"conv {p}"]) for p in ("float32", "bfloat16")}
    limits = []
    for precision in PRECISIONS:
        with counted() as operations:
            autoattack.ours("", name, data, settings, precision).run()
        at_peak = sum(operations.of(p) / peak[p] for p in peak)
        limits.append((operations.seconds(speeds), at_peak))
    return limits


def _line(row: Row, authors: list[Row], passing: float, at_peak: float) -> str:
    cells = [row.network, row.contestant, f"{row.seconds:.1f}", f"{row.found:.1%}"]
    if authors:
        theirs = min(authors, key=lambda other: other.seconds).seconds
        cells += [f"{theirs:.1f}", f"{theirs / row.seconds:.2f}", f"{theirs / passing:.2f}"]
        cells += [f"{theirs / at_peak:.2f}"]
    else:
        cells += ["-"] * 4
    return "| " + " | ".join([*cells, f"{passing / row.seconds:.0%}"]) + " |"


HEADER = (
    "network",
    "contestant",
    "s",
    "robust",
    "authors' code, s",
    "x faster",
    "x with its passes alone",
    "x at the peak",
    "reached",
)


def main() -> None:
    arguments = _arguments()
    sizes = replace(FULL, batch=arguments.batch, slow_rounds=arguments.rounds)
    sizes = replace(sizes, autoattack_images=arguments.images)
    trained_on = {"train_images": arguments.trained_on, "deep_train_images": arguments.trained_on}
    sizes = replace(sizes, **trained_on)
    paths = {"AutoAttack": arguments.autoattack} if arguments.autoattack else {}
    how = (sizes, CPU, 0, arguments.threads, arguments.data, arguments.cache)
    settings = Settings(*how, deep=True, paths=paths)
    peers.importable(paths)
    torch.set_num_threads(arguments.threads)
    if arguments.only != "seconds":
        print(passes(settings), flush=True)
    if arguments.only == "passes":
        return
    settings = replace(settings, effort=arguments.effort)
    data = load_data(settings)
    print("\n| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    for name in arguments.networks:
        print("\n".join(rows(name, data, settings)), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bound", description=__doc__)
    parser.add_argument("--autoattack", type=Path, help="a checkout of its repository")
    parser.add_argument("--only", choices=("passes", "seconds"), help="one of the two tables")
    parser.add_argument("--effort", type=float, default=1.0, help="share of the steps and queries")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--batch", type=int, default=FULL.batch)
    parser.add_argument("--rounds", type=int, default=3)
    told = "images an epoch; fewer for a first impression"
    parser.add_argument("--trained-on", type=int, default=FULL.train_images, help=told)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--networks", nargs="+", default=["BN CNN", "PreAct ResNet-18"])
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "cifar10-jpeg")
    parser.add_argument("--cache", type=Path, default=ROOT / "outputs" / "benchmarks" / "cache")
    return parser.parse_args()


if __name__ == "__main__":
    main()
