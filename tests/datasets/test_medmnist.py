"""MedMNIST's files, small ones of the real format."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.small_sets import COMMON, whole
from robustrun.configuration import composition
from robustrun.configuration.run_config import load_config
from robustrun.datasets import medmnist
from robustrun.datasets.medmnist import MedMNIST
from robustrun.errors import ConfigError, DataError


def of(root: Path, **changed: Any) -> MedMNIST:
    settings: dict[str, Any] = {"flag": "bloodmnist", "size": 28}
    settings |= {"root": str(root), "download": False}
    return MedMNIST(**settings | COMMON | changed)


def stored(path: Path, patch: pytest.MonkeyPatch, flag: str, size: int) -> dict[str, np.ndarray]:
    """A file as Zenodo has it: uint8 N x H x W x 3, labels uint8 N x 1, three parts."""
    drawn, arrays = np.random.default_rng(0), {}
    classes = len(medmnist.table()[flag]["labels"])
    for part, count in (("train", 2 * classes), ("val", 3), ("test", classes)):
        shape = (count, size, size, 3)
        arrays[f"{part}_images"] = drawn.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count, dtype=np.uint8) % classes)[:, None]
    np.savez_compressed(path, **arrays)
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    patch.setitem(medmnist.table()[flag]["md5"], size, digest)
    return arrays


@pytest.mark.parametrize(("size", "name"), [(28, "bloodmnist.npz"), (64, "bloodmnist_64.npz")])
def test_a_set_is_what_its_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, name: str
) -> None:
    arrays = stored(tmp_path / name, monkeypatch, "bloodmnist", size)
    splits = of(tmp_path, size=size).load()
    assert splits.class_names[:3] == ("basophil", "eosinophil", "erythroblast")
    assert (len(splits.train), splits.train.shape) == (16, (3, size, size))
    expected = torch.from_numpy(arrays["test_images"]).permute(0, 3, 1, 2) / 255
    assert torch.equal(whole(splits.test), expected)
    assert splits.test.labels.tolist() == [*range(8)]


def test_a_file_that_is_not_there_or_not_the_right_one_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        of(tmp_path).load()
    for part in (
        "dataset.download is false",
        "https://zenodo.org/records/10519652/files/bloodmnist.npz",
        "MD5 sum 7053d0359d879ad8a5505303e11de1dc",
        str(tmp_path / "bloodmnist.npz"),
    ):
        assert part in str(caught.value)
    np.savez(tmp_path / "bloodmnist.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"bloodmnist\.npz is not the file that it should be"):
        of(tmp_path).load()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"flag": "chestmnist"}, r"^flag is 'chestmnist', whose images have several labels each"),
        ({"flag": "pathmnits"}, r"^flag is 'pathmnits'.*Did you mean 'pathmnist'"),
        ({"size": 32}, r"^size is 32, but must be one of 28, 64, 128, 224 pixels"),
    ],
)
def test_what_medmnist_does_not_have_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        of(tmp_path, **changed)


def test_a_run_is_called_by_the_flag() -> None:
    words = ["dataset=medmnist", "dataset.flag=octmnist"]
    assert load_config(composition.compose_config(words)).name_of("dataset") == "octmnist"
