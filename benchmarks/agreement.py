"""Does AutoAttack here decide as the official one? Both on the same images, verdict by verdict.

    python -m benchmarks.agreement EVALUATION ... --autoattack PATH

EVALUATION is the folder of a `robustrun evaluate` that measured `autoattack` (linf, standard); PATH
a checkout of https://github.com/fra31/auto-attack. Nothing is installed.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from robustrun import finished

BATCH = 250


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    parser.add_argument("evaluations", nargs="+", type=Path)
    parser.add_argument("--autoattack", type=Path, required=True, metavar="PATH")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.path.insert(0, str(options.autoattack))
    torch.set_num_threads(1)
    print("| network | here | official | only here robust | only there robust | seconds, there |")
    print("|---|---|---|---|---|---|")
    for folder in options.evaluations:
        print(compared(folder, options.seed), flush=True)


def compared(folder: Path, seed: int) -> str:
    """One row of the table."""
    results = json.loads((folder / "results.json").read_text())
    source = Path(results["evaluated"]["source"])
    found = np.load(folder / "predictions.npz", allow_pickle=False)
    entry = next(a for a in results["evaluation"]["attacks"] if a["name"] == "autoattack")
    began = time.monotonic()
    there = official(source, found["index"], entry["epsilon"], seed)
    here = found["attack/autoattack"]
    return (
        f"| {source.name} | {here.mean():.2%} | {there.mean():.2%} | {(here & ~there).sum()} | "
        f"{(there & ~here).sum()} | {time.monotonic() - began:.0f} |"
    )


def official(source: Path, index: np.ndarray, epsilon: float, seed: int) -> np.ndarray:
    """What the official code leaves standing of these test images of the run at `source`."""
    from autoattack import AutoAttack  # type: ignore[import-not-found]

    run_config, network = finished.load(source)
    images = run_config.dataset.load().test.subset(torch.from_numpy(index))
    parts = list(images.batches(len(images)))
    x, y = parts[0]
    attack = AutoAttack(
        network,
        norm="Linf",
        eps=epsilon,
        version="standard",
        device="cpu",
        seed=seed,
        verbose=False,
    )
    x_adv = attack.run_standard_evaluation(x, y, bs=BATCH)
    return right(network, x, y) & right(network, x_adv, y)


@torch.no_grad()
def right(network: nn.Module, x: Any, y: Any) -> np.ndarray:
    answers = torch.cat([network(part).argmax(dim=1) for part in x.split(BATCH)])
    verdicts: np.ndarray = (answers == y).numpy()
    return verdicts


if __name__ == "__main__":
    main()
