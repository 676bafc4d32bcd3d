"""CIFAR as its official files have it, and what is said where they are missing or damaged."""

import hashlib
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.small_sets import COMMON, whole
from robustrun.datasets.cifar import CIFAR
from robustrun.errors import DataError


def cifar(root: Path, **changed: Any) -> CIFAR:
    settings: dict[str, Any] = {"name": "cifar10", "root": str(root), "download": False}
    return CIFAR(**settings | COMMON | changed)


def fake_cifar10(root: Path, each: int) -> np.ndarray:
    """Files laid out as the official ones, with `each` images per batch file; all their pixels."""
    batches = root / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (6, each, 3072), dtype=np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name, part in zip(names, pixels, strict=True):
        content = {"data": part, "labels": [i % 10 for i in range(each)]}
        (batches / name).write_bytes(pickle.dumps(content))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    return pixels


def test_cifar_pixels_are_those_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = fake_cifar10(tmp_path, each=20)
    # The fake files cannot have the official MD5 sums.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    splits = cifar(tmp_path, crop_padding=4, flip=True).load()
    assert (len(splits.train), len(splits.test)) == (100, 20)
    assert splits.class_names == tuple("abcdefghij")
    assert splits.train.labels[:20].tolist() == [*range(10), *range(10)]
    stored = whole(splits.train.plain())
    assert torch.equal(stored, torch.from_numpy(pixels[:5]).view(100, 3, 32, 32) / 255)
    assert not torch.equal(whole(splits.train), stored)
    assert torch.equal(whole(splits.test), torch.from_numpy(pixels[5]).view(20, 3, 32, 32) / 255)


def test_cifar_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        cifar(tmp_path).load()
    message = str(caught.value)
    for part in (
        f"{tmp_path / 'cifar-10-batches-py'} is not there",
        "dataset.download is false",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "dataset.root",
    ):
        assert part in message
    assert "\n" not in message


class MakesFolder:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def test_damaged_cifar_file_is_named_with_the_sum_expected_and_never_unpickled(
    tmp_path: Path,
) -> None:
    fake_cifar10(tmp_path, each=1)
    canary = tmp_path / "canary"
    first = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    first.write_bytes(pickle.dumps(MakesFolder(canary)))
    with pytest.raises(
        DataError, match=r"data_batch_1 is damaged.*c99cafc152244af753f735de768cd75f"
    ):
        cifar(tmp_path).load()
    assert not canary.exists()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").unlink()
    with pytest.raises(DataError, match="data_batch_1 is missing"):
        cifar(tmp_path).load()


def no_answer(*_: object, **__: object) -> None:
    raise OSError("no answer at all")


def test_cifar_without_network_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustrun.storage.transfer.urlopen", no_answer)
    with pytest.raises(DataError, match=r"could not be fetched \(no answer at all\)\. Fetch http"):
        cifar(tmp_path, download=True).load()


def test_cifar_offline_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTRUN_OFFLINE", "1")
    monkeypatch.setattr("robustrun.storage.transfer.urlopen", None)
    with pytest.raises(DataError, match="ROBUSTRUN_OFFLINE=1 forbids downloads"):
        cifar(tmp_path, download=True).load()


def test_an_archive_of_cifar_that_was_put_there_damaged_is_named_with_the_sum(
    tmp_path: Path,
) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"half of it")
    with pytest.raises(DataError, match=r"python\.tar\.gz is not the file that.*c58f30108f718f9"):
        cifar(tmp_path).load()


def test_an_archive_of_cifar_that_was_put_there_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_cifar10(tmp_path / "made", each=10)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    content = (tmp_path / "cifar-10-python.tar.gz").read_bytes()
    source = "torchvision.datasets.cifar.CIFAR10"
    monkeypatch.setattr(f"{source}.tgz_md5", hashlib.md5(content).hexdigest())
    for name in ("train_list", "test_list"):
        files = ["test_batch"] if name == "test_list" else [f"data_batch_{i}" for i in range(1, 6)]
        monkeypatch.setattr(f"{source}.{name}", [(file, None) for file in files])
    monkeypatch.setattr(
        f"{source}.meta", {"filename": "batches.meta", "key": "label_names", "md5": None}
    )
    assert len(cifar(tmp_path).load().train) == 50
    assert not list(tmp_path.glob(".*.lock"))


def test_cifar_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(DataError, match="cannot be written to"):
        cifar(occupied, download=True).load()
