"""What the pictures of docs/concepts share: two networks, and how a picture looks."""

import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

import robustrun

RUNS = Path("outputs/pictures")  # in the working folder; a second picture finds the runs there
PAGES = Path(__file__).resolve().parents[1] / "concepts"
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#d55e00", "#009e73", "#b2182b", "#666666"
IMAGES = int(os.environ.get("IMAGES", "200"))  # measured where that takes long; fewer for a trial
SHORT = ["device=cpu", "device.threads=1", "evaluation=none", "keep.figures=false"]


def run_folder(method: str) -> Path:
    """A run of `robustrun method=METHOD` (digits, seed 0), trained if it is not there."""
    folder = RUNS / method
    robustrun.run(robustrun.compose([f"method={method}", *SHORT]), folder)
    return folder


def network(method: str) -> nn.Module:
    return robustrun.load_run(run_folder(method))[1]


def digits(count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first `count` test images of the digits, N x 1 x 8 x 8 in [0, 1], and their labels."""
    torch.manual_seed(0)  # of the attacks that follow
    images = robustrun.dataset("digits").load().test
    return next(images.batches(count or len(images)))


def percent(values: object) -> float:
    return 100 * float(np.asarray(values).mean())


def figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Axes beside each other on white, so that they are read in the dark, too."""
    plt.rcParams |= {"font.size": 10, "svg.hashsalt": "robustrun", "axes.spines.top": False}
    plt.rcParams |= {"axes.spines.right": False, "svg.fonttype": "path"}
    drawing, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    return drawing, list(axes[0])


def save(drawing: Figure, name: str) -> None:
    file = PAGES / name
    drawing.savefig(file, bbox_inches="tight", facecolor="white", metadata={"Date": None})
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")
    print(file.name)
