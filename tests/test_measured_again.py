"""What a finished network knows is compared with what it is applied to."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from robustrun.command_line.main import run_command_line
from robustrun.datasets.relabelled import TrainedOn, as_trained
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError
from robustrun.report import collect
from robustrun.run_folder.load import configuration, trained_on
from robustrun.run_folder.lpips_network import FinishedRun
from robustrun.run_folder.schema import read_record
from robustrun.types import Splits

CHANNEL = {"a": 0, "b": 1, "c": 2, "d": 0}  # the bright one, which tells a class
TRAIN = [
    *("method=standard", "model=simple_cnn", "device.threads=1", "training.batch_size=8"),
    *("training.epochs=6", "optimizer.lr=0.05", "evaluation=none", "dataset=image_folder"),
    *("dataset.crop_padding=0", "dataset.workers=0", "attack.epsilon=0.02", "attack.steps=3"),
    "keep.figures=false",
]


def picture(rng: np.random.Generator, channel: int, size: int, grey: bool) -> Image.Image:
    pixels = rng.integers(0, 60, (size, size, 3)).astype(np.uint8)
    pixels[..., channel] += np.uint8(150)
    return Image.fromarray(pixels).convert("L" if grey else "RGB")


def images(root: Path, classes: str, size: int = 8, grey: bool = False) -> Path:
    """`root/{train,test}/CLASS/*.png`, whose classes a network learns at once."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture(rng, CHANNEL[name], size, grey).save(folder / f"{number}.png")
    return root


def latest() -> Path:
    return max(Path("outputs").glob("*/*")).resolve()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows a, b and c perfectly."""
    place = tmp_path_factory.mktemp("trained")
    root = images(place / "abc", "abc")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert run_command_line([*TRAIN, f"dataset.root={root}"]) == 0
        return latest()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def evaluate(source: Path, *words: str) -> int:
    return run_command_line(["evaluate", str(source), "device.threads=1", *words])


def measured(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


@pytest.mark.parametrize("classes", ["ab", "bc", "ac"])
def test_some_of_the_classes_are_matched_by_name(run: Path, tmp_path: Path, classes: str) -> None:
    root = images(tmp_path / "some", classes)
    assert evaluate(run, f"dataset.root={root}") == 0
    results = measured(latest())
    clean = results["evaluation"]["clean"]
    assert (clean["correct"], clean["total"]) == (8, 8)
    assert results["dataset"]["class_names"] == ["a", "b", "c"]
    assert [share is not None for share in clean["per_class"]] == [c in classes for c in "abc"]
    missing = (set("abc") - set(classes)).pop()
    assert f"the data set has no class '{missing}'" in (latest() / "run.log").read_text()


def test_another_order_of_the_same_classes_gives_the_same_number(run: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    data = TensorImages(pixels, labels)
    theirs = Splits(data, data, ("c", "a", "b"))
    seen = as_trained(theirs, trained_on(read_record(run)), str(run))
    assert seen.class_names == ("a", "b", "c")
    assert seen.test.labels.tolist() == [2, 0, 1, 1, 0, 2]
    order = torch.tensor([3, 0])
    (x, y), *_ = seen.test.batches(2, order)
    assert y.tolist() == [1, 2]
    assert torch.equal(x, pixels[order].float() / 255)
    part = seen.test.subset(torch.tensor([1, 5]))
    assert part.labels.tolist() == [0, 2]
    assert seen.test.plain().labels.tolist() == seen.test.labels.tolist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset=digits"], ["'a', 'b', 'c'", "'0', '1', '2'"]),
        (["dataset.root={bcd}"], ["'a', 'b', 'c'", "does not know class 'd'"]),
        (["dataset.root={grey}"], ["3 channels", "have 1", "dataset.channels=3"]),
        (["dataset.root={tiny}"], ["8 x 8", "4 x 4", "image_size=8"]),
        (["dataset.root={large}"], ["8 x 8", "16 x 16", "image_size=8"]),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides_named(
    run: Path,
    tmp_path: Path,
    words: list[str],
    said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = {
        "bcd": images(tmp_path / "bcd", "bcd"),
        "grey": images(tmp_path / "grey", "abc", grey=True),
        "tiny": images(tmp_path / "tiny", "abc", size=4),
        "large": images(tmp_path / "large", "abc", size=16),
    }
    assert evaluate(run, *(word.format(**folders) for word in words)) == 2
    error = capsys.readouterr().err
    for part in said:
        assert part in error
    assert "Traceback" not in error
    assert measured(latest())["run"]["status"] == "failed"


def test_what_the_message_proposes_helps(run: Path, tmp_path: Path) -> None:
    large = images(tmp_path / "large", "abc", size=16)
    assert evaluate(run, f"dataset.root={large}", "dataset.image_size=8") == 0
    assert measured(latest())["evaluation"]["clean"]["accuracy"] == 1.0
    grey = images(tmp_path / "grey", "abc", grey=True)
    assert evaluate(run, f"dataset.root={grey}", "dataset.channels=3") == 0


def test_two_classes_of_one_name_are_refused() -> None:
    data = TensorImages(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))
    trained = TrainedOn(("cat", "dog"), (1, 8, 8))
    with pytest.raises(DataError, match="Two classes of this data set have the same name"):
        as_trained(Splits(data, data, ("cat", "cat")), trained, "RUN")


def test_a_runs_file_of_weights_says_what_it_was_trained_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = shutil.copy(run / "model.safetensors", tmp_path / "handed over.safetensors")
    words = ("model=simple_cnn", "dataset=image_folder", "dataset.workers=0", "attack.epsilon=0.02")
    root = images(tmp_path / "bc", "bc")
    assert evaluate(Path(weights), *words, "evaluation=none", f"dataset.root={root}") == 0
    assert measured(latest())["evaluation"]["clean"]["accuracy"] == 1.0
    root = images(tmp_path / "bcd", "bcd")
    assert evaluate(Path(weights), *words, "evaluation=none", f"dataset.root={root}") == 2
    assert "does not know class 'd'" in capsys.readouterr().err


def test_a_configured_network_is_measured_on_the_classes_that_its_weights_know(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("dataset=image_folder", "dataset.workers=0", "attack.epsilon=0.02", "evaluation=none")
    configured = Path("model=simple_cnn")
    bc, bcd = images(tmp_path / "bc", "bc"), images(tmp_path / "bcd", "bcd")
    for weights in (run, run / "model.safetensors"):
        told = (f"model.weights={weights}", *words)
        assert evaluate(configured, *told, f"dataset.root={bc}") == 0
        clean = measured(latest())["evaluation"]["clean"]
        assert (clean["correct"], clean["per_class"]) == (8, [None, 1.0, 1.0])
        assert evaluate(configured, *told, f"dataset.root={bcd}") == 2
        assert "does not know class 'd'" in capsys.readouterr().err


def test_a_configured_network_without_all_of_its_weights_is_not_measured(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(safetensors.torch.load_file(run / "model.safetensors"), "of three.pth")
    words = ("dataset=image_folder", "dataset.workers=0", "attack.epsilon=0.02", "evaluation=none")
    told = ("model.weights='of three.pth'", *words)
    assert evaluate(Path("model=simple_cnn"), *told, f"dataset.root={images(tmp_path, 'bc')}") == 2
    error = capsys.readouterr().err
    assert "of three.pth has no weights for fc3.weight, fc3.bias: those would be random" in error
    assert "as many classes as the data set (2)" in error


def test_a_file_is_nobodys_method(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = safetensors.torch.load_file(run / "model.safetensors")
    safetensors.torch.save_file(state, tmp_path / "foreign.safetensors")
    words = ("model=simple_cnn", "dataset=image_folder", "evaluation=none", "dataset.workers=0")
    root = images(tmp_path / "abc", "abc")
    assert evaluate(Path("foreign.safetensors"), *words, f"dataset.root={root}") == 0
    folder = latest()
    results = measured(folder)
    assert "_evaluate_foreign_image_folder" in folder.name
    assert results["evaluated"]["kind"] == "weights"
    assert results["training"] is None
    assert not {"method", "training", "recipe", "optimizer", "schedule"} & set(results["config"])
    assert not {"method", "optimizer", "schedule"} & set(results["config"]["options"])
    shown = capsys.readouterr().out
    assert "foreign.safetensors on image_folder, simple_cnn" in shown
    assert "trades" not in shown
    assert collect.read(folder).settings["method.name"] == "foreign.safetensors"


def test_an_lpips_network_of_ones_own_takes_its_own_images_only(run: Path) -> None:
    network = FinishedRun(str(run), None).load()
    assert len(network(torch.zeros(2, 3, 8, 8))) == 2
    for shape in ((2, 1, 8, 8), (2, 3, 16, 16)):
        with pytest.raises(Exception, match=r"takes images of 3 x 8 x 8 .* but these have"):
            network(torch.zeros(shape))


def interrupted(function: str, words: list[str]) -> Path:
    """The folder of a command that was interrupted where `experiment` calls `function`."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"robustrun.experiment.{function}", stop)
        assert run_command_line(words) == 130
    return latest()


def darken(root: Path, split: str, channel: int) -> None:
    """Replace every image by one that only `channel` is bright in: of the same name."""
    rng = np.random.default_rng(5)
    for file in sorted((root / split).rglob("*.png")):
        picture(rng, channel, 8, grey=False).save(file)


@pytest.mark.parametrize("memory", ["4", "0"])  # decoded at once, and read while it goes
def test_a_journal_about_other_images_is_not_believed(
    run: Path, tmp_path: Path, memory: str
) -> None:
    root = images(tmp_path / "abc", "abc")
    words = ["evaluate", str(run), "device.threads=1", f"dataset.root={root}"]
    words += [f"dataset.memory_limit_gb={memory}", "evaluation=none"]
    folder = interrupted("sections.evaluation_section", words)
    darken(root, "test", CHANNEL["b"])  # every picture is one of class b now
    assert run_command_line(["resume", str(folder)]) == 0
    clean = measured(folder)["evaluation"]["clean"]
    pgd = measured(folder)["evaluation"]["attacks"][0]
    assert (clean["correct"], clean["total"]) == (4, 12)
    assert pgd["per_class"][0] == pgd["per_class"][2] == 0.0
    assert "all is measured again" in (folder / "run.log").read_text()


def test_a_journal_about_the_same_images_is_believed(run: Path, tmp_path: Path) -> None:
    root = images(tmp_path / "abc", "abc")
    words = ["evaluate", str(run), "device.threads=1", f"dataset.root={root}"]
    folder = interrupted("sections.evaluation_section", words)
    assert run_command_line(["resume", str(folder)]) == 0
    assert "continuing after" in (folder / "run.log").read_text()


@pytest.mark.parametrize("part", ["train", "test", "swapped"])
def test_a_training_does_not_go_on_with_other_images(
    tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = images(tmp_path / "abc", "abc")
    folder = interrupted("_evaluate", [*TRAIN, f"dataset.root={root}"])
    if part == "swapped":
        for split in ("train", "test"):
            (root / split / "a").rename(root / split / "x")
            (root / split / "b").rename(root / split / "a")
            (root / split / "x").rename(root / split / "b")
    else:
        darken(root, part, CHANNEL["b"])
    assert run_command_line(["resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "belongs to a run with other inputs" in error
    changed = ["train", "validation", "test"] if part == "swapped" else [part]
    assert all(f"{name} images" in error for name in changed)


def test_a_training_does_not_go_on_with_another_file_that_its_configuration_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, weights = images(tmp_path / "abc", "abc"), tmp_path / "eyes.safetensors"
    safetensors.torch.save_file({"weight": torch.ones(1)}, weights)
    # Any text of the configuration may name a file: here a source, which nothing loads.
    entry = f"{{attack: clean, measure: accuracy, accuracy: 0.5, source: '{weights}'}}"
    folder = interrupted("_evaluate", [*TRAIN, f"dataset.root={root}", f"published=[{entry}]"])
    safetensors.torch.save_file({"weight": torch.zeros(1)}, weights)
    assert run_command_line(["resume", str(folder)]) == 2
    assert f"Changed since it began: {weights}" in capsys.readouterr().err


def test_a_training_does_not_go_on_with_other_corrupted_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = images(tmp_path / "abc", "abc")
    shutil.copytree(root / "test", tmp_path / "c" / "fog" / "1")
    words = "{root: c, download: false, names: [fog], severities: [1]}"
    training = [*TRAIN, f"dataset.root={root}", f"evaluation.corruptions={words}"]
    folder = interrupted("_evaluate", training)
    image = tmp_path / "c" / "fog" / "1" / "b" / "2.png"
    before = image.read_bytes()
    picture(np.random.default_rng(1), 2, 8, grey=True).save(image)
    assert run_command_line(["resume", str(folder)]) == 2
    folder_of_fog = tmp_path / "c" / "fog"
    assert f"Changed since it began: corrupted images in {folder_of_fog}" in capsys.readouterr().err
    image.write_bytes(before)
    assert run_command_line(["resume", str(folder)]) == 0
    assert measured(folder)["evaluation"]["corruptions"]["accuracy"] == 1.0


def test_a_training_goes_on_with_its_images_wherever_they_lie_now(tmp_path: Path) -> None:
    root = images(tmp_path / "abc", "abc")
    folder = interrupted("_evaluate", [*TRAIN, f"dataset.root={root}"])
    shutil.copytree(root, tmp_path / "copy")
    shutil.rmtree(root)
    (tmp_path / "copy").rename(root)
    assert run_command_line(["resume", str(folder)]) == 0


def test_a_completed_run_is_left_untouched_whoever_comes_late(run: Path) -> None:
    from robustrun import experiment
    from robustrun.configuration.run_config import load_config

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    run_config = load_config(configuration(run))
    # As if it had ended between the look at its status and the lock.
    result = experiment.run(run_config, run)
    assert result.results["run"]["status"] == "completed"
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
