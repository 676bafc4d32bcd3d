"""Which folders hold the training and the test images, and which trees are refused."""

import json
import logging
from pathlib import Path

import pytest

from datasets.small_sets import folder, make_tree, save
from robustrun.command_line.main import run_command_line
from robustrun.errors import DataError


def flat(root: Path) -> Path:
    for name, count in (("ant", 10), ("bee", 5)):
        for number in range(count):
            save(root / name / f"{number}.png", seed=number + count)
    return root


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_val_is_the_test_part_where_there_is_no_test(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    splits = folder(make_tree(tmp_path, test=name)).load()
    assert (len(splits.train), len(splits.test), splits.test_from) == (8, 4, f"{name}/")
    assert f"{tmp_path / name} is taken as the test part: there is no test/" in caplog.text


def test_test_is_measured_where_there_is_val_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    make_tree(tmp_path)
    save(tmp_path / "val" / "other" / "0.png", seed=0)
    splits = folder(tmp_path).load()
    assert (splits.class_names, splits.test_from) == (("ant", "bee"), None)
    assert f"{tmp_path / 'val'} is not used: test/ is measured" in caplog.text


@pytest.mark.parametrize("below", [".", "train"])
def test_of_one_folder_of_classes_a_test_part_is_cut(tmp_path: Path, below: str) -> None:
    flat(tmp_path / below)
    splits = folder(tmp_path).load()
    assert splits.class_names == ("ant", "bee")
    assert splits.train.labels.bincount().tolist() == [8, 4]
    assert splits.test.labels.bincount().tolist() == [2, 1]
    assert splits.test_from == (
        "held out: 0.2 of each class (dataset.test_fraction), dataset.test_seed 0"
    )
    whole = {*files(splits.train), *files(splits.test)}
    assert len(whole) == 15
    assert files(folder(tmp_path, test_seed=1).load().test) != files(splits.test)


def files(images: object) -> list[bytes]:
    names: list[bytes] = images.files.names.tolist()  # type: ignore[attr-defined]
    return names


@pytest.mark.parametrize("only", ["test", "val"])
def test_a_test_part_alone_can_be_measured(tmp_path: Path, only: str) -> None:
    flat(tmp_path / only)
    splits = folder(tmp_path).load()
    assert (len(splits.train), len(splits.test)) == (0, 15)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "validation", "val"), r"has 'val', 'validation' and no test/"),
        (("train", "holdout"), r"train/ and beside it 'holdout', but neither test/ nor val/"),
        (("training", "testing"), r"has 'testing', 'training', which seems to be a split"),
        (("Train", "Test"), r"has 'Test', 'Train', which seems to be a split"),
    ],
)
def test_what_may_mean_several_things_is_refused(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    for name in folders:
        flat(tmp_path / name)
    with pytest.raises(DataError, match=message):
        folder(tmp_path).load()


def test_a_root_without_class_folders_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least two class folders.*has none"):
        folder(tmp_path).load()
    with pytest.raises(DataError, match=r"is not a folder.*val/ in place of test/.*CLASS/IMAGE"):
        folder(tmp_path / "nowhere").load()


def test_results_say_that_the_test_part_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flat(tmp_path / "images")
    words = ["method=standard", "model=simple_cnn", "dataset=image_folder", "dataset.root=images"]
    more = ["training.epochs=1", "training.batch_size=4", "evaluation=none", "keep.figures=false"]
    assert run_command_line([*words, *more, "dataset.workers=0", "device.threads=1"]) == 0
    (results,) = (tmp_path / "outputs").glob("*/*/results.json")
    assert json.loads(results.read_text())["dataset"]["test_from"].startswith(
        "held out: 0.2 of each"
    )
