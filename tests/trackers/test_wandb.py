"""Weights & Biases."""

import time
from pathlib import Path

import pytest

from robustrun.trackers.wandb import WeightsAndBiases
from trackers.tracked_run import CONFIG, RESULTS, row


def test_wandb_works_without_a_network(folder: Path) -> None:
    pytest.importorskip("wandb", reason="pip install robustrun[wandb]")
    run = WeightsAndBiases("robustrun", None, "offline").start(folder, CONFIG)
    run.epoch(row(1))
    run.finish(RESULTS)
    (kept,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    words = (b"train_loss", b"worst_case", b"model.safetensors")
    for _ in range(300):  # W&B's own process writes the file, and may still be at it
        if all(word in kept.read_bytes() for word in words):
            return
        time.sleep(0.1)
    raise AssertionError(f"{kept} lacks one of {words}")
