"""A run is measured under corruptions and perturbations."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustrun.command_line.main import run_command_line
from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.datasets.relabelled import TrainedOn, as_trained
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation import corruptions
from robustrun.evaluation.corruptions import CorruptionAccuracy
from robustrun.evaluation.measure import measure
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.settings import Corruptions
from robustrun.types import Splits

COUNT = 4  # test images, officially 10,000


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Red and blue images, and their corruptions: fog leaves them, snow swaps them."""
    monkeypatch.chdir(tmp_path)
    red, blue = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    for part, count in (("train", 8), ("test", COUNT)):
        for label, pixels in (("blue", blue), ("red", red)):
            (tmp_path / "images" / part / label).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(pixels).save(tmp_path / "images" / part / label / f"{number}.png")
    labels = np.array([0] * COUNT + [1] * COUNT, dtype=np.uint8)
    clean = np.stack([blue] * COUNT + [red] * COUNT)
    for name in ("cifar-c", "cifar-p"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "cifar-c" / "labels.npy", np.tile(labels, 5))
    np.save(tmp_path / "cifar-c" / "fog.npy", np.tile(clean, (5, 1, 1, 1)))
    np.save(tmp_path / "cifar-c" / "snow.npy", np.tile(clean[::-1], (5, 1, 1, 1)))
    sequences = np.stack([clean, clean, clean[::-1]], axis=1)
    np.save(tmp_path / "cifar-p" / "tilt.npy", sequences)
    return tmp_path


RUN = [
    *("method=standard", "dataset=image_folder", "dataset.root=images", "training.epochs=4"),
    *("training.batch_size=4", "optimizer.lr=0.01", "training.validation_fraction=0"),
    *("dataset.flip=false", "dataset.crop_padding=0", "device.threads=1"),
]


def test_a_run_measures_each_corruption_their_mean_and_the_flip_rate(
    colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "evaluation.corruptions.names=[fog,snow]"
    sequences = "evaluation.perturbations={root: cifar-p, names: [tilt]}"
    root = "evaluation.corruptions.root=cifar-c"
    assert run_command_line([*RUN, "evaluation=corruptions", root, names, sequences]) == 0
    (path,) = colours.glob("outputs/*/*/results.json")
    evaluation = json.loads(path.read_text())["evaluation"]
    assert evaluation["clean"]["accuracy"] == 1.0
    assert evaluation["corruptions"]["by_corruption"] == {"fog": 1.0, "snow": 0.0}
    assert evaluation["corruptions"]["by_severity"]["fog"] == dict.fromkeys("12345", 1.0)
    assert evaluation["corruptions"]["accuracy"] == 0.5
    assert evaluation["perturbations"]["flip_rate"] == 0.5  # the second of two changes
    said = capsys.readouterr().out
    assert "mean corruption accuracy 50.00%" in said
    assert "mean flip rate 50.00%" in said


def test_missing_files_are_named_before_training(
    colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([*RUN, "evaluation=corruptions"]) == 2
    assert "CIFAR-10-C is not a folder" in capsys.readouterr().err
    assert not list(colours.glob("outputs/*/*/metrics.csv"))
    words = ["evaluation=corruptions", "training.epochs=1", "device.threads=1"]
    words += ["keep.figures=false"]
    assert run_command_line(words) == 2
    assert "measures images of 3 x 32 x 32" in capsys.readouterr().err


def test_corruptions_of_another_data_set_are_refused(
    colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.load(colours / "cifar-c" / "labels.npy")
    np.save(colours / "cifar-c" / "labels.npy", 1 - labels)
    words = ["evaluation=corruptions", "evaluation.corruptions.root=cifar-c"]
    assert run_command_line([*RUN, *words, "evaluation.corruptions.names=[fog]"]) == 2
    assert "has other labels than the run's test set for 8 of 8" in capsys.readouterr().err
    assert not list(colours.glob("outputs/*/*/metrics.csv"))


def test_corruptions_are_counted_in_the_networks_order_of_classes(colours: Path) -> None:
    plan = Corruptions("cifar-c", ("fog",), (1,))
    labels = torch.tensor([0] * COUNT + [1] * COUNT)  # blue, then red
    test = TensorImages(torch.zeros(2 * COUNT, 3, 32, 32), labels)
    trained = TrainedOn(("red", "blue"), (3, 32, 32))
    splits = as_trained(Splits(test, test, ("blue", "red")), trained, "RUN")

    class Reddest(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))[:, [0, 2]]

    raw = compose_config(["evaluation=none"])
    evaluation = dataclasses.replace(load_config(raw).evaluation, corruptions=plan)
    corruptions.check(evaluation, splits)
    entry, setting = CorruptionAccuracy(plan, None, splits), Setting(0, 8, torch.device("cpu"))
    found = measure(Reddest(), test, 2, [entry], setting)
    assert found.corruptions is not None
    assert found.corruptions.accuracy == 1.0
