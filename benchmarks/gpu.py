"""`python -m benchmarks.gpu PART`: what benchmarks/gpu.sh measures, row by row as it is found."""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: threads that wait do not spin

import torch

from benchmarks import gpu_evaluation, gpu_profile, gpu_steps, peers, table
from benchmarks.networks import Data, load_data
from benchmarks.peak import peaks
from benchmarks.settings import DRY, ONE_GPU, Settings
from benchmarks.timing import Row, with_ratios
from robustrun.devices.local import processor_name

Works = Mapping[str, Callable[[], list[Row]]]
CHECKOUTS = {name: name for name in ("TRADES", "MAIR", "robust_overfitting")}
CHECKOUTS["AutoAttack"] = "auto-attack"
PARTS = {"steps": gpu_steps.works, "evaluation": gpu_evaluation.works, "profile": gpu_profile.works}


def main() -> None:
    arguments = _arguments()
    settings = _settings(arguments)
    torch.set_num_threads(settings.threads)
    found = peers.importable(settings.paths)
    for name in sorted(set(CHECKOUTS) - set(found)):
        print(f"{name} is not there: its rows are left out")
    data = load_data(settings)
    about = _about(settings, data, found)
    done = measured(PARTS[arguments.part](data, settings, found), arguments.out, about)
    if done:
        print(table.markdown(done, about))


def measured(works: Works, out: Path, about: dict[str, Any]) -> list[Row]:
    """The rows of all works, written to `out` after each; a work that fails leaves the others."""
    rows: list[Row] = []
    for name, work in works.items():
        began = time.monotonic()
        try:
            fresh = work()
        except Exception:
            print(f"{name} failed:\n{traceback.format_exc()}", flush=True)
            continue
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
        for row in fresh:
            print(f"  {row.contestant}: {row.seconds:.4g} s, {row.meaning} {row.found}", flush=True)
        rows = with_peers([*rows, *fresh])
        if rows:  # a profile has none
            content = {"about": about, "rows": [asdict(row) for row in rows]}
            out.write_text(json.dumps(content, indent=1))
    return rows


def with_peers(rows: list[Row]) -> list[Row]:
    """The rows of one kind of work together, each compared with the fastest peer of its kind."""
    kinds = dict.fromkeys((row.work, row.network) for row in rows)
    return [
        row
        for kind in kinds
        for row in with_ratios([row for row in rows if (row.work, row.network) == kind])
    ]


def _settings(arguments: argparse.Namespace) -> Settings:
    paths = {name: arguments.peers / folder for name, folder in CHECKOUTS.items()}
    return Settings(
        DRY if arguments.dry else ONE_GPU,
        torch.device("cpu" if arguments.dry else "cuda"),
        seed=0,
        threads=1,
        data=arguments.images,
        cache=arguments.cache,
        deep=not arguments.dry,
        effort=0.02 if arguments.dry else 1.0,
        paths={name: path for name, path in paths.items() if path.is_dir()},
    )


def _about(settings: Settings, data: Data, found: dict[str, str]) -> dict[str, Any]:
    on_gpu = settings.device.type == "cuda"
    return {
        "machine": torch.cuda.get_device_name() if on_gpu else processor_name(),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "data": data.name,
        "seed": settings.seed,
        "peers": found,
        "peaks": peaks(settings.device),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--dry", action="store_true", help="next to nothing, on the CPU")
    parser.add_argument("--out", type=Path, required=True, help="the file for the rows")
    parser.add_argument("--images", type=Path, required=True, help="CIFAR-10 (JPEG); else digits")
    parser.add_argument("--peers", type=Path, required=True, help="the folder of the checkouts")
    parser.add_argument("--cache", type=Path, required=True, help="for what is trained here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
