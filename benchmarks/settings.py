"""How much work the benchmarks do, and where."""

from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass(frozen=True)
class Sizes:
    """Images, batches and rounds of each kind of work."""

    rounds: int  # timed runs of each contestant, alternating
    slow_rounds: int  # the same for AutoAttack
    batch: int
    images: int  # of a PGD evaluation
    deep_images: int  # the same for PreAct ResNet-18
    autoattack_images: int
    train_images: int  # the benchmark's own networks are trained on, per epoch
    epochs: int  # of the small network
    deep_train_images: int
    deep_epochs: int
    steps: int  # training steps in one timed run
    step_batch: int
    pipeline_images: int
    epoch_images: int  # of the epoch whose overhead is measured


FULL = Sizes(5, 5, 128, 1000, 256, 1000, 10_000, 10, 10_000, 2, 1, 128, 20_000, 2560)
QUICK = Sizes(2, 1, 64, 128, 8, 8, 1280, 2, 128, 1, 1, 8, 4000, 128)
GPU = Sizes(5, 5, 512, 10_000, 10_000, 10_000, 50_000, 10, 50_000, 10, 20, 128, 50_000, 50_000)
ONE_GPU = Sizes(3, 1, 500, 500, 500, 500, 20_000, 3, 20_000, 3, 5, 128, 20_000, 20_000)
DRY = Sizes(1, 1, 16, 4, 4, 4, 1000, 4, 1000, 4, 1, 8, 64, 32)  # of ONE_GPU on a CPU
TINY = Sizes(1, 1, 16, 32, 8, 4, 64, 1, 16, 1, 1, 8, 64, 32)  # for the tests


@dataclass(frozen=True)
class Settings:
    """What all kinds of work get."""

    sizes: Sizes
    device: torch.device
    seed: int
    threads: int
    data: Path  # CIFAR-10 (JPEG), if it is there
    cache: Path  # for the networks that are trained here
    deep: bool  # PreAct ResNet-18, beside the small network
    networks: tuple[str, ...] = ()  # others, instead of these two
    parts: bool = False  # of AutoAttack, each on its own
    effort: float = 1.0  # share of AutoAttack's steps and queries; below 1 it is another attack
    quick: bool = False  # without untuned peers, slow precisions and the largest sizes
    paths: dict[str, Path] = field(default_factory=dict)  # checkouts of peers
