"""Does AutoAttack here decide as the official one? Both on the same images, verdict by verdict.

    python -m benchmarks.agreement EVALUATION ... --autoattack PATH

EVALUATION is the folder of a `robustrun evaluate` that measured `autoattack` (linf, standard); PATH
a checkout of https://github.com/fra31/auto-attack. Nothing is installed.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from robustrun.configuration.run_config import load_config
from robustrun.evaluation.measure import choose_examples
from robustrun.run_folder import provenance
from robustrun.run_folder.load import configuration, load_run

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
    source, began = Path(str(provenance.read(folder).source)), time.monotonic()
    index, epsilon, there = official(folder, source, seed)
    seconds = time.monotonic() - began
    found = np.load(folder / "predictions.npz", allow_pickle=False)
    here = found["attack/autoattack"]
    assert np.array_equal(found["index"], index), "not the same images"
    return (
        f"| {source.name}, epsilon {epsilon:.4g} | {here.mean():.2%} | {there.mean():.2%} | "
        f"{(here & ~there).sum()} | {(there & ~here).sum()} | {seconds:.0f} |"
    )


def official(folder: Path, source: Path, seed: int) -> tuple[np.ndarray, float, np.ndarray]:
    """(the test images that the evaluation in `folder` measures, its radius, which of them the
    official code leaves standing)."""
    from autoattack import AutoAttack

    plan = load_config(configuration(folder))
    network = load_run(source)[1]
    images, index = choose_examples(plan.dataset.load().test, plan.evaluation)
    x, y = next(images.batches(len(images)))
    epsilon = plan.evaluation.attacks["autoattack"].epsilon
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
    return index, epsilon, right(network, x, y) & right(network, x_adv, y)


@torch.no_grad()
def right(network: nn.Module, x: Any, y: Any) -> np.ndarray:
    answers = torch.cat([network(part).argmax(dim=1) for part in x.split(BATCH)])
    verdicts: np.ndarray = (answers == y).numpy()
    return verdicts


if __name__ == "__main__":
    main()
