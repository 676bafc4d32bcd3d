"""What torch's DistributedDataParallel gains by sending gradients while the backward pass is still
under way, beside one flat message after it: steps of PGD training with each, in turns, in ms.

    python -m benchmarks.reducer [--processes 2] [--model resnet18] [--batch 32] [--steps 5]
        [--attack-steps 10]

Of a step of PGD training only the last pass has gradients to send: the attack's have none.
"""

import argparse
import os
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import robustrun
from robustrun.attacks.pgd import PGD
from robustrun.compute import agent, processes
from robustrun.compute.place import place


def main() -> None:
    arguments = _arguments()
    here = place(os.environ)
    if here is None:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in vars(arguments).items()]
        agent.run_processes(arguments.processes, ["-m", "benchmarks.reducer", *words])
        return
    with processes.together(here):
        times = measured(arguments)
        if processes.is_first():
            print(markdown(times, arguments.attack_steps))


def measured(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each step, of the slowest process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = robustrun.compose([f"model={arguments.model}", "dataset=cifar10"])
    model: nn.Module = config.model.build((3, 32, 32), 10)
    wrapped = DistributedDataParallel(model, forward_sync_buffers=False)
    x, y = torch.rand(arguments.batch, 3, 32, 32), torch.arange(arguments.batch) % 10
    steps = arguments.attack_steps
    attack = PGD("linf", 8 / 255, steps, 2 / 255, 1, True, "ce") if steps else None
    times: dict[str, list[float]] = {"flat": [], "DDP": []}
    for number in range(arguments.steps + 1):  # the first is not counted
        for name, network in (("flat", model), ("DDP", wrapped)):
            processes.wait_for_all()
            began = time.perf_counter()
            step(model, network, attack, x, y)
            (slowest,) = processes.agreed(time.perf_counter() - began)
            if number:
                times[name].append(slowest)
    return times


def step(model: nn.Module, network: nn.Module, attack: PGD | None, x: Tensor, y: Tensor) -> None:
    """Adversarial images, and the gradients of their loss summed over the processes."""
    x_adv = attack(model.eval(), x, y) if attack else x
    network.train()
    F.cross_entropy(network(x_adv), y).backward()  # type: ignore[no-untyped-call]
    if network is model:
        processes.sum_flat(p.grad for p in model.parameters() if p.grad is not None)
    model.zero_grad(set_to_none=True)


def markdown(times: dict[str, list[float]], attack_steps: int) -> str:
    """Medians, the extremes, and how much longer a step is with one flat message."""
    lines = ["| gradients | ms a step | fastest - slowest |", "|---|---|---|"]
    for name, seconds in times.items():
        low, high = 1000 * min(seconds), 1000 * max(seconds)
        lines.append(
            f"| {name} | {1000 * statistics.median(seconds):.0f} | {low:.0f} - {high:.0f} |"
        )
    ratio = statistics.median(times["flat"]) / statistics.median(times["DDP"])
    lines.append(f"\nflat / DDP with {attack_steps} attack steps: {ratio:.2f}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.reducer", description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=32, help="images of each process")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--attack-steps", type=int, default=10, help="0: standard training")
    return parser.parse_args()


if __name__ == "__main__":
    main()
