"""Data sets of the Hugging Face hub: by name, from their parquet files, and from a saved folder."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from datasets.small_sets import COMMON, whole
from datasets.small_tables import FEATURES, picture, pixels, write_parquet
from robustrun.datasets import huggingface
from robustrun.datasets.huggingface import HuggingFace
from robustrun.errors import ConfigError, DataError


def hub(path: Path | str, **changed: Any) -> HuggingFace:
    settings: dict[str, Any] = {
        "path": str(path),
        "config": None,
        "revision": None,
        "train_split": None,
        "test_split": None,
        "image_column": None,
        "label_column": None,
        "test_fraction": 0.2,
        "test_seed": 0,
        "image_size": None,
        "channels": None,
        "memory_limit_gb": 1.0,
    }
    return HuggingFace(**settings | COMMON | changed)


@pytest.fixture(scope="module")
def library() -> Iterator[Any]:
    """Hugging Face's library: its name is that of this folder, too, which stands aside."""
    tests = Path(__file__).parents[1]
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] == "datasets"]:
            patch.delitem(sys.modules, name)
        patch.setattr(sys, "path", [place for place in sys.path if Path(place) != tests])
        yield huggingface.installed_datasets()
        for name in [name for name in sys.modules if name.split(".")[0] == "datasets"]:
            del sys.modules[name]


def write(folder: Path, **labels: list[Any]) -> Path:
    """A split of parquet for each list of labels; image n is that of seed n."""
    for split, own in labels.items():
        images = [picture(seed) for seed in range(len(own))]
        write_parquet(folder / f"{split}-00000-of-00001.parquet", images, own, FEATURES)
    return folder


def test_a_folder_of_parquet_files_is_read_with_the_names_of_its_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write(tmp_path, train=[2, 1, 0, 0], test=[1, 2])
    splits = hub(tmp_path, flip=True).load()
    assert f"{tmp_path}: images of 'img', labels of 'label'" in caplog.text
    assert splits.class_names == ("ant", "bee", "cat")
    assert splits.train.labels.tolist() == [2, 1, 0, 0]
    assert splits.test.labels.tolist() == [1, 2]
    expected = np.stack([pixels(picture(seed)) for seed in range(4)]).transpose(0, 3, 1, 2)
    assert torch.equal(whole(splits.train.plain()), torch.from_numpy(expected) / 255)
    again = hub(tmp_path, flip=True).load()
    assert again.train.fingerprint() == splits.train.fingerprint()
    write(tmp_path, train=[2, 1, 0, 1])
    assert hub(tmp_path).load().train.fingerprint() != splits.train.fingerprint()


def test_texts_of_a_file_are_its_classes_and_a_test_part_is_cut_off(tmp_path: Path) -> None:
    images, labels = [picture(seed) for seed in range(10)], ["bee", "ant"] * 5
    write_parquet(tmp_path / "mine.parquet", images, labels)
    splits = hub(tmp_path / "mine.parquet").load()
    assert splits.class_names == ("ant", "bee")
    assert (len(splits.train), len(splits.test)) == (8, 2)
    assert sorted(splits.test.labels.tolist()) == [0, 1]
    assert splits.test_from is not None
    assert splits.test_from.startswith("held out: 0.2 of each class")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"train": [0, 1, 2], "validation": [0, 1]}, "there is no test split"),
        (
            {"train": [0, 1, 2], "validation": [0, 1], "test": [-1, -1]},
            "the labels of 'test' are hidden",
        ),
    ],
)
def test_validation_is_the_test_part_where_there_is_no_other_and_that_is_said(
    tmp_path: Path, labels: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    splits = hub(write(tmp_path, **labels)).load()
    assert splits.test.labels.tolist() == [0, 1]
    assert splits.test_from == "split 'validation'"
    assert f"'validation' is taken as the test part: {told}" in caplog.text


def test_a_class_that_only_the_test_part_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test-0.*parquet has images of 'cat', of which .*none"):
        hub(write(tmp_path, train=[0, 1, 0], test=[0, 2])).load()


def test_splits_can_be_named_and_a_test_part_alone_can_be_measured(tmp_path: Path) -> None:
    write(tmp_path, train=[0, 1, 2], validation=[1, 0], test=[1])
    assert hub(tmp_path, test_split="validation").load().test.labels.tolist() == [1, 0]
    assert hub(tmp_path, train_split="validation").load().train.labels.tolist() == [1, 0]
    with pytest.raises(DataError, match=r"test_split is 'tset', but .* has test, train, valid"):
        hub(tmp_path, test_split="tset").load()
    alone = hub(write(tmp_path / "alone", test=[2, 1])).load()
    assert (len(alone.train), alone.test.labels.tolist()) == (0, [2, 1])


def test_what_is_trained_on_is_never_measured(tmp_path: Path) -> None:
    write(tmp_path, train=[0, 1] * 5, test=[2, 1, 0] * 5)
    turned = hub(tmp_path, train_split="test").load()
    assert (len(turned.train), len(turned.test)) == (12, 3)
    assert str(turned.test_from).startswith("held out: 0.2 of each class")
    with pytest.raises(DataError, match=r"^dataset\.test_split: 'train' is the split to train on"):
        hub(tmp_path, test_split="train").load()


def test_a_test_part_without_the_column_of_labels_has_them_hidden(tmp_path: Path) -> None:
    write(tmp_path, train=[0, 1], validation=[1, 0])
    pictures = tmp_path / "test-00000-of-00001.parquet"
    write_parquet(pictures, [picture(7)], ["7.png"], names=("img", "file"))
    assert hub(tmp_path).load().test_from == "split 'validation'"
    (tmp_path / "validation-00000-of-00001.parquet").unlink()
    with pytest.raises(
        DataError, match=r"'test' are hidden.*give dataset\.path the files to train"
    ):
        hub(tmp_path).load()


def test_images_of_any_size_are_scaled_and_too_many_are_refused(tmp_path: Path) -> None:
    images = [picture(0, (9, 7)), picture(1, (8, 12), "L")]
    write_parquet(tmp_path / "train.parquet", images, [0, 1], FEATURES)
    write_parquet(tmp_path / "test.parquet", images, [0, 1], FEATURES)
    with pytest.raises(DataError, match=r"row 1 is 8 x 12 pixels.*dataset\.image_size=N"):
        hub(tmp_path).load()
    assert hub(tmp_path, image_size=4).load().test.shape == (3, 4, 4)
    assert hub(tmp_path, image_size=4, channels=1).load().test.shape == (1, 4, 4)
    with pytest.raises(ConfigError, match=r"memory_limit_gb is 1e-07, but 4 images of 3 x 4 x 4"):
        hub(tmp_path, image_size=4, memory_limit_gb=1e-7).load()


def test_what_is_neither_there_nor_a_name_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", "./data", "mine.parquet"):
        with pytest.raises(DataError, match=r"is not there\. It must be a folder of parquet files"):
            hub(path).load()


def test_the_hub_is_asked_by_name_and_its_columns_are_those_of_its_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Any
) -> None:
    write(tmp_path, train=[2, 1, 0], test=[1])
    monkeypatch.chdir(tmp_path)
    asked = []

    def from_parquet(path: str, config: str | None, revision: str | None) -> Any:
        asked.append((path, config, revision))
        files = {
            name: str(tmp_path / f"{name}-00000-of-00001.parquet") for name in ("train", "test")
        }
        return library.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))

    class Hub:
        load_dataset = staticmethod(from_parquet)

    monkeypatch.setattr(huggingface, "installed_datasets", lambda: Hub)
    monkeypatch.setattr(huggingface, "unreachable", lambda url: None)
    splits = hub("uoft-cs/cifar10", config="plain_text", revision="main").load()
    assert asked == [("uoft-cs/cifar10", "plain_text", "main")]
    assert splits.class_names == ("ant", "bee", "cat")
    assert splits.train.labels.tolist() == [2, 1, 0]
    local = hub(tmp_path).load()
    assert splits.train.fingerprint() == local.train.fingerprint()


def test_what_save_to_disk_wrote_is_read(tmp_path: Path, library: Any) -> None:
    own = {"label": [0, 1, 1, 0], "image": [{"bytes": picture(n), "path": None} for n in range(4)]}
    features = library.Features(
        {"label": library.ClassLabel(names=["no", "yes"]), "image": library.Image()}
    )
    library.Dataset.from_dict(own, features).save_to_disk(str(tmp_path / "saved"))
    splits = hub(tmp_path / "saved", test_fraction=0.5).load()
    assert splits.class_names == ("no", "yes")
    assert (len(splits.train), len(splits.test)) == (2, 2)


def test_another_module_of_the_librarys_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("datasets")
    other.__file__ = "/mine/datasets.py"
    monkeypatch.setitem(sys.modules, "datasets", other)
    with pytest.raises(ConfigError, match=r"`import datasets` finds /mine/datasets\.py, which is"):
        hub("uoft-cs/cifar10").load()


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'robustrun\[hf\]'"):
        hub("uoft-cs/cifar10").load()


@pytest.mark.parametrize("forbidden", [True, False])
def test_without_network_the_cache_is_read_and_it_is_said_how_to_get_what_lacks(
    forbidden: bool, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("ROBUSTRUN_OFFLINE", str(int(forbidden)))
    asked = []

    def nobody(url: str) -> str:
        asked.append(url)
        return "no route to host"

    monkeypatch.setattr(huggingface, "unreachable", nobody)
    with pytest.raises(DataError) as caught:
        hub("nobody/has-this").load()
    reason = "ROBUSTRUN_OFFLINE=1 forbids downloads" if forbidden else "no route to host"
    for part in (f"the cache of the hub ({reason})", "hf download --repo-type dataset nobody/has"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert asked == ([] if forbidden else [huggingface.HUB])
    assert library.config.HF_HUB_OFFLINE is forbidden
