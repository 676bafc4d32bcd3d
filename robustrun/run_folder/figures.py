"""The pictures of one run: training curves, accuracy against radius, adversarial images.

Each is written twice: PNG to look at, SVG (FILE.svg beside FILE.png) to put into a paper.
"""

import io
from math import nan
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure  # not pyplot: no window, no global state
from matplotlib.ticker import MaxNLocator
from torch import nn

from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.statistics import accuracy, wilson
from robustrun.evaluation.table import as_text, level_ticks
from robustrun.run_folder.schema import worst_status
from robustrun.storage.files import write_atomically
from robustrun.training.metrics import EpochMetrics
from robustrun.types import Attack, Images

# Okabe and Ito's colours, which colour-blind readers can distinguish.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
GRID_COLUMNS = 8


def _figure(width: float, height: float) -> Figure:
    """An empty picture, in inches."""
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    """Drawn once for each kind of file, and laid out once: `savefig` does both twice."""
    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")
    # No date, and the same names of parts: the same run gives the same file.
    with rc_context({"svg.hashsalt": "robustrun"}):
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(svg, metadata={"Date": None})  # type: ignore[no-untyped-call]
    write_atomically(path.with_suffix(".png"), png.getvalue())
    write_atomically(path.with_suffix(".svg"), svg.getvalue())


def _name(figure: Figure, run: str, explained: str = "") -> None:
    """The run's name above everything else, in small letters: names of folders are long."""
    figure.suptitle(f"{run}\n{explained}".strip(), fontsize=9, wrap=True, parse_math=False)


def training_curves(path: Path, history: list[EpochMetrics], kept: int, run: str) -> None:
    """Loss and accuracies over the epochs, with a line at the one whose weights were kept."""
    figure = _figure(10.5, 3.5)
    left, right = figure.subplots(1, 2)
    epochs = [row.epoch for row in history]
    losses = [nan if row.train_loss is None else row.train_loss for row in history]
    left.plot(epochs, losses, ".:", color=GREEN)
    left.set(xlabel="epoch", ylabel="training loss", title="Loss")
    curves = (
        ("train_accuracy", "training, clean", GREEN, ":"),
        ("validation_clean_accuracy", "validation, clean", BLUE, "-"),
        ("validation_robust_accuracy", "validation, under attack", ORANGE, "-"),
    )
    for key, label, colour, line in curves:
        shares = [(row.epoch, getattr(row, key)) for row in history]
        known = [(epoch, 100 * share) for epoch, share in shares if share is not None]
        if known:
            right.plot(*zip(*known, strict=True), line, marker=".", color=colour, label=label)
    right.set(xlabel="epoch", ylabel="accuracy (%)", title="Accuracy", ylim=(0, 100))
    for axes in (left, right):
        axes.axvline(kept, color=GREY, linestyle="--", linewidth=1, label=f"epoch {kept}, kept")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(loc="upper left", bbox_to_anchor=(1.02, 1))  # beside the curves, not on them
    _name(figure, run)
    _save(figure, path)


def accuracy_against_radius(path: Path, measured: Evaluation, attack: Attack, run: str) -> None:
    """Robust accuracy at each radius measured, with its 95% interval, and what the audit says."""
    figure = _figure(5, 3.5)
    axes = figure.subplots()
    points = measured.curve or [(0.0, measured.clean_right)]
    radii = [radius for radius, _ in points]
    shares = np.array([accuracy(right) for _, right in points])
    bounds = np.array([wilson(int(right.sum()), len(right)) for _, right in points])
    reach = np.abs(bounds.T - shares)
    said = "accuracy, 95% interval"
    axes.errorbar(radii, 100 * shares, 100 * reach, fmt=".-", color=BLUE, capsize=3, label=said)
    if attack.bounded:
        axes.axvline(attack.epsilon, color=ORANGE, linestyle="--", label="radius of this run")
    if ticks := level_ticks(radii):
        axes.set_xticks([*ticks], [*ticks.values()])
    axes.legend()
    axes.set(
        xlabel=f"radius ({attack.norm}, pixel units)", ylabel="robust accuracy (%)", ylim=(0, 100)
    )
    if audit := worst_status(check.status for check in measured.checks):
        axes.set_title(f"audit: {audit}", color=ORANGE if audit == "fail" else "black")
    _name(figure, run)
    _save(figure, path)


def one_of_each_class(measured: Evaluation) -> np.ndarray:
    """Places of the first image of each class that is right; if none is, of any."""
    right = measured.clean_right
    places = np.flatnonzero(right if right.any() else np.ones_like(right))
    _, first = np.unique(measured.labels[places], return_index=True)
    return places[first]


def adversarial_grid(
    path: Path,
    model: nn.Module,
    images: Images,
    measured: Evaluation,
    class_names: tuple[str, ...],
    attack: Attack,
    device: torch.device,
    run: str,
) -> None:
    """Clean image, perturbation (scaled to the full range) and attacked image, with predictions."""
    shown = torch.from_numpy(one_of_each_class(measured)[:GRID_COLUMNS])
    x, y = next(images.batches(GRID_COLUMNS, shown, device))
    x_adv = attack(model, x, y, generator=Setting(0, len(x), device).generator("figure", 0))
    with torch.no_grad():
        before, after = predicted(model(x)).tolist(), predicted(model(x_adv)).tolist()
    delta = x_adv - x
    scaled = 0.5 + 0.5 * delta / delta.abs().max().clamp_min(1e-12)
    figure = _figure(1.3 * len(x) + 0.6, 4.6)
    axes = figure.subplots(3, len(x), squeeze=False)
    rows = (("clean", x, before), ("change", scaled, None), ("attacked", x_adv, after))
    for line, (name, pictures, answers) in zip(axes, rows, strict=True):
        line[0].set_ylabel(name)
        for place, picture in zip(line, pictures.cpu(), strict=True):
            pixels = picture.permute(1, 2, 0).squeeze(-1).numpy()
            place.imshow(pixels, cmap="gray", vmin=0, vmax=1)
            place.set(xticks=[], yticks=[])
        for place, answer, right in zip(line, answers or (), y.tolist(), strict=False):
            _name_answer(place, answer, right, class_names)
    extreme = f"change scaled: grey is none, extremes are {as_text(float(delta.abs().max()))}"
    _name(figure, run, f"{extreme}; bold and orange: a wrong answer")
    _save(figure, path)


def _name_answer(place: Axes, answer: int, right: int, class_names: tuple[str, ...]) -> None:
    """The predicted class below an image, bold and orange where it is wrong."""
    wrong = answer != right
    place.set_xlabel(
        "no answer" if answer == NO_ANSWER else class_names[answer],
        fontsize=8,
        color=ORANGE if wrong else "black",
        fontweight="bold" if wrong else "normal",
        parse_math=False,  # a class may be called "$5 or $10"
    )
