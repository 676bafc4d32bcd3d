"""`python -m benchmarks`: every kind of work beside every importable peer, then the table."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: threads that wait do not spin

import argparse
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import (
    autoattack,
    growth,
    input_pipeline,
    overhead,
    peers,
    pgd_evaluation,
    start_up,
    table,
    training_step,
)
from benchmarks.networks import NETWORKS, Data, load_data
from benchmarks.peak import peaks
from benchmarks.settings import FULL, GPU, QUICK, Settings
from benchmarks.timing import Row
from robustrun.devices.local import processor_name

ROOT = Path(__file__).resolve().parents[1]
WORKS = (
    "start_up",
    "input_pipeline",
    "pgd_evaluation",
    "training_step",
    "overhead",
    "growth",
    "autoattack",
)


def main() -> None:
    arguments = _arguments()
    settings = _settings(arguments)
    torch.set_num_threads(settings.threads)
    found = peers.importable(settings.paths)
    data = load_data(settings)
    about = _about(settings, data, found, arguments.quick)
    works = _works(data, settings, found)
    rows: list[Row] = []
    for name in arguments.only:
        began = time.monotonic()
        rows += works[name]()
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        table.write(arguments.out, rows, about)  # after each: a long run may be cut short
    print(table.markdown(rows, about))


def _works(
    data: Data, settings: Settings, found: dict[str, str]
) -> dict[str, Callable[[], list[Row]]]:
    return {
        "start_up": lambda: start_up.rows(settings),
        "input_pipeline": lambda: input_pipeline.rows(data, settings, found),
        "pgd_evaluation": lambda: pgd_evaluation.rows(data, settings, found),
        "training_step": lambda: training_step.rows(data, settings, found),
        "overhead": lambda: overhead.rows(data, settings),
        "growth": lambda: growth.rows(data, settings),
        "autoattack": lambda: autoattack.rows(data, settings, found),
    }


def _settings(arguments: argparse.Namespace) -> Settings:
    kind = "cuda" if torch.cuda.is_available() and not arguments.cpu else "cpu"
    named = {"AutoAttack": arguments.autoattack, "TRADES": arguments.trades}
    named |= {"MAIR": arguments.mair, "robust_overfitting": arguments.robust_overfitting}
    sizes = QUICK if arguments.quick else GPU if kind == "cuda" else FULL
    given = {
        **dict.fromkeys(("rounds", "slow_rounds"), arguments.rounds),
        **dict.fromkeys(("images", "deep_images"), arguments.images),
        **dict.fromkeys(("train_images", "deep_train_images"), arguments.trained_on),
        "autoattack_images": arguments.autoattack_images,
    }
    sizes = replace(sizes, **{name: value for name, value in given.items() if value})
    return Settings(
        sizes,
        torch.device(kind),
        arguments.seed,
        arguments.threads,
        arguments.data,
        arguments.out / "cache",
        deep=not arguments.small,
        networks=tuple(arguments.networks),
        parts=arguments.parts,
        quick=arguments.quick,
        effort=0.25 if arguments.quick else 1.0,
        paths={name: path for name, path in named.items() if path},
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="few images, rounds, sizes and steps: three minutes"
    )
    parser.add_argument("--only", nargs="+", choices=WORKS, default=WORKS, help="kinds of work")
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=cores, help="all cores that are free to it")
    parser.add_argument("--small", action="store_true", help="leave out PreAct ResNet-18")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=(), help="instead")
    parser.add_argument("--parts", action="store_true", help="each part of AutoAttack, too")
    parser.add_argument("--rounds", type=int, help="timed runs of each contestant")
    parser.add_argument("--images", type=int, help="of a PGD evaluation")
    parser.add_argument("--trained-on", type=int, help="images an epoch of the networks measured")
    parser.add_argument("--autoattack-images", type=int, help="how many AutoAttack is run on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "cifar10-jpeg")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "benchmarks")
    for name in ("autoattack", "trades", "mair", "robust-overfitting"):
        parser.add_argument(f"--{name}", type=Path, help="a checkout of its repository")
    return parser.parse_args()


def _about(settings: Settings, data: Data, found: dict[str, str], quick: bool) -> dict[str, Any]:
    on_gpu = settings.device.type == "cuda"
    return {
        "machine": torch.cuda.get_device_name() if on_gpu else processor_name(),
        "threads": settings.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "data": data.name,
        "radius (Linf)": f"{data.epsilon:.4f}",
        "seed": settings.seed,
        "batch": settings.sizes.batch,
        "quick": "yes: few rounds on few images, so no more than a hint" if quick else "no",
        "peers": found,
        "peaks": peaks(settings.device),
    }


if __name__ == "__main__":
    main()
