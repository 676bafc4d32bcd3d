"""How `robustrun report` grows: run folders by the thousand, all made like one real run.

`python -m benchmarks.many_runs make RUN FOLDER 10000` writes them, with other methods, radii,
betas, seeds and accuracies; `python -m benchmarks.many_runs time FOLDER` reports on them in a
process of its own, and prints seconds, seconds of a core and peak memory.
"""

import argparse
import copy
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, islice, product
from pathlib import Path
from typing import Any

from robustrun.evaluation.statistics import wilson

METHODS = ("standard", "fgsm_at", "pgd_at", "trades", "mart", "fast_at", "n_fgsm", "at_bsl")
RADII = (2, 4, 6, 8, 10)  # of 255
IN_A_SWEEP = 100  # runs beside each other in one folder
SHARED = (  # by all runs of a sweep
    *("config.yaml", "metrics.csv", "run.log", "predictions.npz", "checkpoint/origin.json"),
    *("figures/adversarial_images.png", "figures/training.png"),
)


def make(run: Path, root: Path, number: int, seeds: int) -> None:
    """`number` finished runs below `root`, each with a results.json of its own; the other files of
    `run` are there once for each sweep, with hard links to them in its runs."""
    results, draw = json.loads((run / "results.json").read_bytes()), random.Random(0)
    files = [name for name in SHARED if (run / name).is_file()]
    for place, settings in enumerate(islice(_settings(seeds), number)):
        sweep = root / f"{place // IN_A_SWEEP:04}_sweep"
        folder = sweep / str(place % IN_A_SWEEP)
        for name in ("checkpoint", "figures"):
            (folder / name).mkdir(parents=True)
        for name in files:
            if place % IN_A_SWEEP:
                os.link(sweep / "0" / name, folder / name)
            else:
                shutil.copy(run / name, folder / name)
        text = json.dumps(_varied(results, folder.name, settings, draw), indent=2)
        (folder / "results.json").write_text(text, encoding="utf-8")


def _settings(seeds: int) -> Iterator[dict[str, Any]]:
    """Endlessly many settings: the seeds of each method at each radius, then a further beta."""
    for step in count(1):
        for method, radius, seed in product(METHODS, RADII, range(seeds)):
            yield {"method": method, "epsilon": radius / 255, "beta": step / 4, "seed": seed}


def _varied(
    results: dict[str, Any], name: str, settings: dict[str, Any], draw: random.Random
) -> dict[str, Any]:
    varied = copy.deepcopy(results)
    config, evaluation = varied["config"], varied["evaluation"]
    words = [f"{key}={value}" for key, value in settings.items()]
    varied["run"] |= {"id": name, "command": f"robustrun {' '.join(words)}", "overrides": words}
    varied["run"]["seconds"] = draw.uniform(10, 1000)
    config["seed"] = settings["seed"]
    config["options"]["method"] = varied["training"]["method"] = settings["method"]
    config["method"] |= {"beta": settings["beta"], "epsilon": settings["epsilon"]}
    config["attack"]["epsilon"] = settings["epsilon"]
    for entry in evaluation["attacks"]:
        entry["epsilon"] = settings["epsilon"]
        entry["settings"] |= {"epsilon": settings["epsilon"]}
    clean = draw.uniform(0.6, 0.99)
    _score(evaluation["clean"], clean)
    robust = [clean * draw.uniform(0.2, 0.9) for _ in evaluation["attacks"]]
    for entry, share in zip(evaluation["attacks"], robust, strict=True):
        _score(entry, share)
    _score(evaluation["worst_case"], min([clean, *robust]))
    for place, point in enumerate(evaluation["curve"]):
        _score(point, clean * 0.8**place)
    return varied


def _score(score: dict[str, Any], share: float) -> None:
    total = score["total"]
    correct = round(share * total)
    score |= {"accuracy": correct / total, "correct": correct, "ci95": list(wilson(correct, total))}


def timed(root: Path, words: list[str]) -> None:
    """Print what a report over `root` takes."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "robustrun", "report", str(root), *words]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    of_cores, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    about = f"{seconds:.1f} s, {of_cores:.1f} s of a core, {peak:.0f} MiB"
    print(f"robustrun report {root} {' '.join(words)}: {about}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    ways = parser.add_subparsers(dest="way", required=True)
    making = ways.add_parser("make")
    making.add_argument("run", type=Path)
    making.add_argument("root", type=Path)
    making.add_argument("number", type=int)
    making.add_argument("--seeds", type=int, default=5, help="runs that differ in these alone")
    timing = ways.add_parser("time")
    timing.add_argument("root", type=Path)
    options, words = parser.parse_known_args()
    if options.way == "make":
        make(options.run, options.root, options.number, options.seeds)
    else:
        timed(options.root, words)


if __name__ == "__main__":
    main()
