"""A run is measured under corruptions and perturbations."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustrun.command_line.main import run_command_line
from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.datasets.corruptions import (
    ALEXNET_ERRORS,
    CorruptedImages,
    PerturbationSequences,
)
from robustrun.datasets.relabelled import TrainedOn, as_trained
from robustrun.datasets.subset import with_classes
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError
from robustrun.evaluation import corruptions
from robustrun.evaluation.corruptions import CorruptionAccuracy
from robustrun.evaluation.findings import CorruptionResult
from robustrun.evaluation.measure import measure
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import nothing_measured
from robustrun.evaluation.search_networks import SearchNetworks
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.settings import Corruptions
from robustrun.storage.journal import Journal
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
    said = capsys.readouterr().err
    for part in ("CIFAR-10-C.tar (2,918.5 MB, MD5 sum 56bf5dc", "evaluation.corruptions.download="):
        assert part in said
    assert not list(colours.glob("outputs/*/*/metrics.csv"))
    words = ["evaluation=corruptions", "training.epochs=1", "device.threads=1"]
    words += ["keep.figures=false"]
    assert run_command_line(words) == 2
    said = capsys.readouterr().err
    assert "measures images of 3 x 32 x 32" in said
    assert "no class folders data/CIFAR-10-C/NAME/SEVERITY/CLASS either" in said


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
    plan = Corruptions("cifar-c", False, ("fog",), (1,))
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


def test_arrays_of_all_classes_go_with_all_of_them_in_any_order(colours: Path) -> None:
    labels = torch.tensor([0] * COUNT + [1] * COUNT)  # blue, then red
    test = TensorImages(torch.zeros(2 * COUNT, 3, 32, 32), labels)
    plan = Corruptions("cifar-c", False, ("fog",), (1,))
    raw = compose_config(["evaluation=none"])
    evaluation = dataclasses.replace(load_config(raw).evaluation, corruptions=plan)
    turned = with_classes(Splits(test, test, ("blue", "red")), ("red", "blue"))
    corruptions.check(evaluation, turned)
    trained = TrainedOn(("blue", "green", "red"), (3, 32, 32))
    corruptions.check(evaluation, as_trained(turned, trained, "RUN"))
    some = with_classes(Splits(test, test, ("blue", "red", "green")), ("red", "blue"))
    with pytest.raises(DataError, match=r"cannot be measured with dataset\.classes"):
        corruptions.check(evaluation, some)


def test_folders_of_images_are_measured_by_the_names_of_their_classes(
    colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, wrong in (("fog", False), ("snow", True)):
        for label, other in (("blue", "red"), ("red", "blue"), ("green", "green")):
            folder = colours / "my-c" / name / "3" / label
            folder.mkdir(parents=True)
            source = colours / "images" / "test" / (other if wrong else label)
            for image in source.glob("*.png"):  # there are none of green
                (folder / image.name).write_bytes(image.read_bytes())
    words = ["evaluation.corruptions.root=my-c", "evaluation.corruptions.severities=[3]"]
    words += ["evaluation=corruptions", "evaluation.corruptions.names=[fog,snow]"]
    assert run_command_line([*RUN, *words]) == 0
    (path,) = colours.glob("outputs/*/*/results.json")
    found = json.loads(path.read_text())["evaluation"]["corruptions"]
    assert found["by_severity"] == {"fog": {"3": 1.0}, "snow": {"3": 0.0}}
    assert found["mean_corruption_error"] is None  # these are not ImageNet-C's classes
    assert "of 3 class folders the run's 2 are measured" in capsys.readouterr().err


def test_the_error_relative_to_alexnets_is_of_all_of_imagenet_c() -> None:
    errors = dict.fromkeys(ALEXNET_ERRORS, 0.4)
    found = CorruptionResult(0.6, {name: 0.6 for name in errors}, {}, 0, 0.0)
    images = TensorImages(torch.zeros(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64))
    names = tuple(map(str, range(1000)))
    expected = sum(0.4 / error for error in ALEXNET_ERRORS.values()) / 15
    error = corruptions._relative_error(found, Splits(images, images, names))
    assert error == pytest.approx(expected)
    assert corruptions._relative_error(found, Splits(images, images, names[:10])) is None


def answering(answers: dict[str, list[int]]) -> Any:
    """What the network says of the images under each name."""
    return lambda _, name: np.array(answers[name])


def test_means_are_over_severities_then_over_corruptions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    images = TensorImages(torch.zeros(4, 3, 2, 2), torch.tensor([0, 1, 0, 1]))
    answers = {"fog 1": [0, 1, 0, 1], "fog 5": [0, 1, 1, -1], "snow 2": [1, 0, -1, -1]}
    named = [name.split() for name in answers]
    parts = [CorruptedImages(name, int(severity), images) for name, severity in named]
    found = corruptions._corruptions(answering(answers), parts)
    assert found.by_severity == {"fog": {"1": 1.0, "5": 0.5}, "snow": {"2": 0.0}}
    assert found.by_corruption == {"fog": 0.75, "snow": 0.0}
    assert found.accuracy == 0.375
    assert found.non_finite == 3
    assert 0 <= found.seconds < 60
    assert found.mean_corruption_error is None
    assert "fog at severity 5: 50.00%" in caplog.text


def test_flips_are_counted_for_each_perturbation_and_their_mean_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    images = TensorImages(torch.zeros(6, 3, 2, 2), torch.zeros(6, dtype=torch.long))
    answers = {"tilt": [0, 1, 1, 0, 0, 0], "shot_noise": [0, 1, 0, 2, -1, 2]}
    parts = [PerturbationSequences(name, images, 3) for name in answers]
    found = corruptions._perturbations(answering(answers), parts)
    # Tilt changes once in four steps; noise differs from the first frame in two of four.
    assert found.by_perturbation == {"tilt": 0.25, "shot_noise": 0.5}
    assert found.flip_rate == 0.375
    assert "tilt flips 25.00%" in caplog.text
    assert found.non_finite == 1
    assert 0 <= found.seconds < 60


@pytest.mark.parametrize(("stored", "refused", "warned"), [
    ([0, 1, 1], False, False),
    ([0, 1, 0], True, False),
    ([0, 1], False, True),
])  # fmt: skip
def test_labels_of_another_test_set_are_refused_and_fewer_warned_of(
    stored: list[int], refused: bool, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    labels, test = torch.tensor(stored), torch.tensor([0, 1, 1])
    if refused:
        with pytest.raises(DataError, match="for 1 of 3 images"):
            corruptions._require_same_test_set(labels, test)
    else:
        corruptions._require_same_test_set(labels, test)
    assert ("has 2 images a severity, the test set 3" in caplog.text) == warned


@pytest.mark.parametrize(
    ("folders", "severities", "classes", "known"),
    [
        (True, (1, 2, 3, 4, 5), 1000, True),
        (True, (5, 4, 3, 2, 1), 1000, True),
        (True, (1, 2, 3, 4), 1000, False),
        (False, (1, 2, 3, 4, 5), 1000, False),  # CIFAR's has no such error
        (True, (1, 2, 3, 4, 5), 10, False),
    ],
)
def test_the_error_relative_to_alexnets_is_of_folders_at_all_severities(
    folders: bool,
    severities: tuple[int, ...],
    classes: int,
    known: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = TensorImages(torch.zeros(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64))
    found = CorruptionResult(0.6, dict.fromkeys(ALEXNET_ERRORS, 0.6), {}, 0, 0.0)
    monkeypatch.setattr(corruptions, "_in_folders", lambda _: folders)
    monkeypatch.setattr(corruptions, "corrupted", lambda *_: [])
    monkeypatch.setattr(corruptions, "_corruptions", lambda *_: found)
    splits = Splits(images, images, tuple(map(str, range(classes))))
    entry = CorruptionAccuracy(Corruptions("c", False, None, severities), None, splits)
    before = nothing_measured(images, classes)
    subject: Any = None
    measured = entry.measure(subject, before, Setting(0, 8, torch.device("cpu"))).corruptions
    assert measured is not None
    assert (measured.mean_corruption_error is not None) == known


def test_predictions_that_the_journal_has_are_not_made_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "this")
    journal.note("corruption fog 1", [1, 0])
    setting = Setting(0, 2, torch.device("cpu"), journal=journal)
    images = TensorImages(torch.tensor([0.2, 0.9]).view(2, 1, 1, 1), torch.tensor([0, 0]))

    class Bright(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([0.5 - x[:, 0, 0, 0], x[:, 0, 0, 0] - 0.5], dim=1)

    subject = Subject(SearchNetworks(Bright(), Bright()), images, 2)
    known, new = (
        corruptions._predictions(subject, setting, images, name) for name in ("fog 1", "fog 2")
    )
    assert (known.tolist(), new.tolist()) == ([1, 0], [0, 1])
    assert Journal(tmp_path / "journal", "this").recall("corruption fog 2") == [0, 1]
