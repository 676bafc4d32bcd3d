"""What it gains to divide a batch among threads: the forward pass and input gradient of a batch, in
microseconds an image, on one thread, with all threads in each layer, and in as many shares as there
are threads.

    python -m benchmarks.shares [--threads N]
"""

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import statistics
import time

import torch
from torch import nn

from benchmarks.networks import plain_config, small_network
from robustrun.attacks.search.ascent import gradient
from robustrun.compute.search_copy import as_bfloat16, search_copy
from robustrun.compute.threads import set_parallelism
from robustrun.devices.local import keep_freed_memory

ROUNDS, SHAPE, CLASSES = 7, (3, 32, 32), 10
BATCHES = {"BN CNN": (4, 16, 64, 128), "PreAct ResNet-18": (8, 64)}
BUSY = 0.1  # seconds of one measurement, at least


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shares", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    threads: int = parser.parse_args().threads
    keep_freed_memory()
    print(f"| network | images | precision | 1 thread | {threads} a layer | {threads} shares |")
    print("|---|---|---|---|---|---|")
    for name, batches in BATCHES.items():
        for batch in batches:
            for low in (False, True):
                kind = "bfloat16" if low else "float32"
                cells = " | ".join(f"{us:,.0f}" for us in _compared(name, batch, low, threads))
                print(f"| {name} | {batch} | {kind} | {cells} |", flush=True)


def _compared(name: str, batch: int, low: bool, threads: int) -> list[float]:
    torch.manual_seed(0)
    network: nn.Module = small_network(SHAPE[0], CLASSES)
    if name != "BN CNN":
        network = plain_config(["model=preact_resnet18"]).model.build(SHAPE, CLASSES)
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    images = torch.rand(batch, *SHAPE)
    ways = [(1, 1), (threads, 1), (1, threads)]  # threads in a layer, and shares
    networks = [_copy(network, images, low, shares) for _, shares in ways]
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):  # in turns
        for number, (inside, _) in enumerate(ways):
            torch.set_num_threads(inside)
            times[number].append(_seconds(networks[number], images))
    return [1e6 * statistics.median(found) / batch for found in times]


def _copy(network: nn.Module, images: torch.Tensor, low: bool, shares: int) -> nn.Module:
    set_parallelism(shares)
    copy = search_copy(network, images)
    assert copy is not None
    return as_bfloat16(copy) if low else copy


def _seconds(network: nn.Module, images: torch.Tensor) -> float:
    passes, began = 0, time.perf_counter()
    while time.perf_counter() - began < BUSY:
        gradient(lambda x: network(x).logsumexp(dim=1).sum(), images)
        passes += 1
    return (time.perf_counter() - began) / passes


if __name__ == "__main__":
    main()
