"""The pictures of a run: they name it, explain their colours and mark the epoch that was kept."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.image import imread

from robustrun.command_line.main import run_command_line
from robustrun.run_folder import figures
from robustrun.training.metrics import EpochMetrics

RUN = "trades on digits, small_cnn ($5 or $10)"


def history(epochs: int) -> list[EpochMetrics]:
    return [
        EpochMetrics(
            epoch,
            10 * epoch,
            0.1,
            2.0 / epoch,
            0.5,
            0.4 if epoch % 2 else None,
            0.2 if epoch % 2 else None,
            1.0,
        )
        for epoch in range(1, epochs + 1)
    ]


def texts(path: Path) -> str:
    """What an SVG says: its letters are outlines, with the words in comments."""
    lines = re.findall(r"<!-- (.*?) -->", path.with_suffix(".svg").read_text())
    return " ".join(lines)


@pytest.mark.parametrize(("epochs", "kept"), [(1, 1), (3, 2), (12, 12)])
def test_training_curves_mark_the_epoch_that_was_kept(
    epochs: int, kept: int, tmp_path: Path
) -> None:
    path = tmp_path / "training.png"
    figures.training_curves(path, history(epochs), kept, RUN)
    said = texts(path)
    for words in (RUN, f"epoch {kept}, kept", "training, clean", "validation, under attack"):
        assert words in said
    assert imread(path).shape[2] == 4  # a picture with transparency


def same(draw: Callable[[Path], None], folder: Path) -> bool:
    for name in ("one.png", "two.png"):
        draw(folder / name)
    return all(
        (folder / f"one.{kind}").read_bytes() == (folder / f"two.{kind}").read_bytes()
        for kind in ("png", "svg")
    )


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    assert same(lambda path: figures.training_curves(path, history(3), 2, RUN), tmp_path)


def test_each_picture_of_a_run_names_it_and_explains_its_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ("method=standard", "training.epochs=2", "evaluation.examples=20", "evaluation=none")
    words = (*short, "attack=fgsm", "device.threads=1", "hydra.run.dir=here")
    assert run_command_line([*words]) == 0
    explained = {
        "training": ("validation, clean", ", kept"),
        "accuracy_against_radius": ("accuracy, 95% interval", "radius of this run"),
        "adversarial_images": ("bold and orange: a wrong answer", "attacked"),
    }
    folder = tmp_path / "here" / "figures"
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{kind}" for name in explained for kind in ("png", "svg")
    }
    for name, words in explained.items():
        said = texts(folder / f"{name}.png")
        for text in ("standard on digits, small_cnn (here)", *words):
            assert text in said
