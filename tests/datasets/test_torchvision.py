"""torchvision's data sets, read from small files in their real formats."""

import bz2
import csv
import gzip
import hashlib
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import GTSRB, MNIST, STL10, SVHN, USPS, EuroSAT

from datasets.small_sets import of_torchvision, whole
from robustrun.configuration import composition
from robustrun.configuration.run_config import load_config
from robustrun.datasets.torchvision import TorchvisionSet
from robustrun.errors import ConfigError, DataError

DRAWN = np.random.default_rng(0)
SPLIT: dict[str, Any] = {"part": "split", "train": "train", "test": "test"}
Patch = pytest.MonkeyPatch


def drawn(count: int, *shape: int) -> np.ndarray:
    return DRAWN.integers(0, 256, (count, *shape), dtype=np.uint8)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def is_made_of(images: Any, levels: np.ndarray, labels: list[int]) -> bool:
    pixels = torch.from_numpy(np.ascontiguousarray(levels)) / 255
    return torch.equal(whole(images), pixels) and images.labels.tolist() == labels


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the format of MNIST's files."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def mnist_files(root: Path, patch: Patch) -> dict[str, np.ndarray]:
    """The four archives where torchvision looks for them, with their own MD5 sums."""
    raw, resources, arrays = root / "MNIST" / "raw", [], {}
    raw.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        arrays[part] = drawn(count, 28, 28)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array in (("images-idx3", arrays[part]), ("labels-idx1", labels)):
            path = raw / f"{part}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(idx(array)))
            resources.append((path.name, md5(path)))
    patch.setattr(MNIST, "resources", resources)
    return arrays


def test_mnist_is_unpacked_from_where_its_archives_were_put_and_read(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    arrays = mnist_files(tmp_path, monkeypatch)
    for _ in range(2):  # unpacked, then as it lies there
        splits = of_torchvision("MNIST", tmp_path).load()
        assert is_made_of(splits.train, arrays["train"][:, None], [*range(10), *range(10)])
        assert is_made_of(splits.test, arrays["t10k"][:, None], [*range(10)])
    assert splits.class_names[3] == "3 - three"
    named = of_torchvision("MNIST", tmp_path, class_names=tuple("0123456789")).load()
    assert named.class_names == tuple("0123456789")


def test_damaged_archives_and_files_are_named(tmp_path: Path, monkeypatch: Patch) -> None:
    mnist_files(tmp_path, monkeypatch)
    raw = tmp_path / "MNIST" / "raw"
    archive = raw / "t10k-labels-idx1-ubyte.gz"
    content = archive.read_bytes()
    archive.write_bytes(content + b"more")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is not the file that it sho"):
        of_torchvision("MNIST", tmp_path).load()
    archive.write_bytes(content)
    of_torchvision("MNIST", tmp_path).load()
    images = raw / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:500])
    with pytest.raises(DataError, match=r"no usable MNIST.*Remove what lies there"):
        of_torchvision("MNIST", tmp_path).load()


def require(source: str) -> None:
    if source == "SVHN":
        pytest.importorskip("scipy", reason="robustrun[svhn] is not installed")


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (
            "MNIST",
            r"train-images-idx3-ubyte\.gz could not be fetched.*f68b3c2dcbeaaa9fbdd348bbdeb94873",
        ),
        ("FashionMNIST", r"8d4fb7e6c68d591d4c3dfef9ec88bf0d.*FashionMNIST/raw/train-images-idx3"),
        ("EMNIST", r"58c8d27c78d21e728a6bc7b3cc06412e.*EMNIST/raw/gzip\.zip"),
        ("SVHN", r"train_32x32\.mat \(MD5 sum e26dedcc434d2e4c54c9b2d4a06d8373\)"),
        ("STL10", r"stl10_binary\.tar\.gz \(MD5 sum 91f7769df0f17e558f3565bffb0c7dfb\)"),
        ("USPS", r"usps\.bz2 \(MD5 sum ec16c51db3855ca6c91edd34d0e9b197\)"),
    ],
)
def test_what_is_not_there_is_explained(tmp_path: Path, source: str, named: str) -> None:
    require(source)
    how = SPLIT if source in ("SVHN", "STL10") else {}
    how = how | ({"arguments": {"split": "balanced"}} if source == "EMNIST" else {})
    with pytest.raises(DataError) as caught:
        of_torchvision(source, tmp_path, **how).load()
    message = str(caught.value)
    for part in (f"{tmp_path} has no usable {source}", "dataset.download is false", "dataset.root"):
        assert part in message
    assert "\n" not in message
    with pytest.raises(DataError, match=named):
        of_torchvision(source, tmp_path, **how).load()


def test_a_class_whose_files_are_not_known_is_explained_too(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    with pytest.raises(DataError, match=r"GTSRB, and dataset\.download=false forbids to fetch it"):
        of_torchvision("GTSRB", tmp_path, **SPLIT).load()
    monkeypatch.setenv("ROBUSTRUN_OFFLINE", "1")
    with pytest.raises(DataError, match=r"GTSRB, and ROBUSTRUN_OFFLINE.* forbids to fetch it"):
        of_torchvision("GTSRB", tmp_path, download=True, **SPLIT).load()


def test_letters_stand_upright_unless_a_run_is_older(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    stored = {}
    for part, count in (("train", 94), ("test", 47)):
        stored[part] = drawn(count, 28, 28)
        labels = np.arange(count, dtype=np.uint8) % 47
        for name, array in (("images-idx3", stored[part]), ("labels-idx1", labels)):
            (raw / f"emnist-balanced-{part}-{name}-ubyte").write_bytes(idx(array))
    config = load_config(composition.compose_config(["dataset=emnist", f"dataset.root={tmp_path}"]))
    splits = config.dataset.load()
    assert is_made_of(splits.train, stored["train"].transpose(0, 2, 1)[:, None], [*range(47)] * 2)
    assert is_made_of(splits.test, stored["test"].transpose(0, 2, 1)[:, None], [*range(47)])
    assert splits.class_names[9:12] == ("9", "A", "B")
    assert "rows and columns exchanged" not in caplog.text
    plain = composition.compose_config(["dataset=emnist", f"dataset.root={tmp_path}"])
    del plain["dataset"]["transpose"]  # as in the folder of a run from before that key
    older = load_config(plain).dataset.load()
    assert is_made_of(older.test, stored["test"][:, None], [*range(47)])
    assert "in a new run, dataset.transpose=true turns them upright" in caplog.text


def test_svhn_has_its_zeros_labelled_ten_in_the_files(tmp_path: Path, monkeypatch: Patch) -> None:
    io = pytest.importorskip("scipy.io")
    stored, sums = {}, {}
    for name, count in (("train", 20), ("test", 10)):
        path = tmp_path / f"{name}_32x32.mat"
        stored[name] = drawn(count, 3, 32, 32)
        labels = (np.arange(count, dtype=np.uint8) % 10 + 1)[:, None]
        io.savemat(
            path, {"X": stored[name].transpose(2, 3, 1, 0), "y": labels}, do_compression=True
        )
        sums[name] = ["http://nowhere", path.name, md5(path)]
    monkeypatch.setattr(SVHN, "split_list", sums)
    splits = of_torchvision("SVHN", tmp_path, **SPLIT).load()
    assert splits.class_names == tuple("0123456789")
    labels = [*range(1, 10), 0]
    assert is_made_of(splits.train, stored["train"], labels * 2)
    assert is_made_of(splits.test, stored["test"], labels)


@pytest.mark.parametrize("source", ["Caltech101", "SVHN"])
def test_a_class_that_needs_scipy_names_the_extra(
    tmp_path: Path, monkeypatch: Patch, source: str
) -> None:
    monkeypatch.setattr("robustrun.datasets.torchvision.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'robustrun\[svhn\]'"):
        of_torchvision(source, tmp_path).load()


def test_stl10_is_stored_by_columns(tmp_path: Path, monkeypatch: Patch) -> None:
    inside = tmp_path / "made" / "stl10_binary"
    inside.mkdir(parents=True)
    stored = {name: drawn(10, 3, 96, 96) for name in ("train", "test")}
    for name, levels in stored.items():
        (inside / f"{name}_X.bin").write_bytes(levels.transpose(0, 1, 3, 2).tobytes())
        (inside / f"{name}_y.bin").write_bytes(bytes(range(1, 11)))
    (inside / "unlabeled_X.bin").write_bytes(b"")
    (inside / "class_names.txt").write_text("\n".join("abcdefghij") + "\n")
    archive = tmp_path / "stl10_binary.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(inside, "stl10_binary")
    for key in ("train_list", "test_list"):
        lists = [[name, md5(inside / name)] for name, _ in getattr(STL10, key)]
        monkeypatch.setattr(STL10, key, lists)
    monkeypatch.setattr(STL10, "tgz_md5", md5(archive))
    splits = of_torchvision("STL10", tmp_path, **SPLIT).load()
    assert splits.class_names == tuple("abcdefghij")
    assert is_made_of(splits.train, stored["train"], [*range(10)])
    assert is_made_of(splits.test, stored["test"], [*range(10)])


def test_usps_is_checked_although_torchvision_does_not(tmp_path: Path, monkeypatch: Patch) -> None:
    sums = {}
    for name, file in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
        rows = [
            " ".join([str(n + 1), *(f"{i + 1}:{n / 5 - 1}" for i in range(256))]) for n in range(10)
        ]
        (tmp_path / file).write_bytes(bz2.compress("\n".join(rows).encode()))
        sums[name] = ["http://nowhere", file, md5(tmp_path / file)]
    monkeypatch.setattr(USPS, "split_list", sums)
    splits = of_torchvision("USPS", tmp_path).load()
    assert splits.train.shape == (1, 16, 16)
    assert splits.test.labels.tolist() == [*range(10)]
    assert whole(splits.test)[5].unique().tolist() == [pytest.approx(127 / 255)]
    (tmp_path / "usps.bz2").write_bytes(bz2.compress(b""))
    with pytest.raises(DataError, match=r"usps\.bz2 is not the file that it should be"):
        of_torchvision("USPS", tmp_path).load()


def gtsrb_files(root: Path) -> None:
    """Signs of two classes and of differing sizes, laid out as the archives of GTSRB are."""
    top = root / "gtsrb"
    for label in (0, 1):
        for number in range(3):
            folder = top / "GTSRB" / "Training" / f"{label:05}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn(40, 30 + number, 3)).save(folder / f"{number}.ppm")
    tested = top / "GTSRB" / "Final_Test" / "Images"
    tested.mkdir(parents=True)
    with (top / "GT-final_test.csv").open("w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["Filename", "ClassId"])
        for number, label in enumerate((1, 0)):
            Image.fromarray(drawn(33, 35, 3)).save(tested / f"{number}.ppm")
            rows.writerow([f"{number}.ppm", label])


def test_pictures_of_any_size_are_decoded_and_scaled(tmp_path: Path) -> None:
    gtsrb_files(tmp_path)
    assert GTSRB(tmp_path)[0][0].size == (30, 40)
    with pytest.raises(DataError, match=r"1\.ppm is 31 x 40 pixels, but the first .* is 30 x 40"):
        of_torchvision("GTSRB", tmp_path, **SPLIT).load()
    names = tuple(f"sign {number}" for number in range(43))
    splits = of_torchvision("GTSRB", tmp_path, image_size=16, class_names=names, **SPLIT).load()
    assert splits.train.shape == (3, 16, 16)
    assert splits.class_names == ("sign 0", "sign 1")  # the others have no image here
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert splits.test.labels.tolist() == [1, 0]


def test_of_a_class_without_parts_a_test_part_is_held_out(tmp_path: Path) -> None:
    for name in ("Forest", "River"):
        for number in range(5):
            folder = tmp_path / "eurosat" / "2750" / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn(8, 8, 3)).save(folder / f"{number}.png")
    assert len(EuroSAT(tmp_path)) == 10
    splits = of_torchvision("EuroSAT", tmp_path, part=None).load()
    assert splits.class_names == ("Forest", "River")
    assert (len(splits.train), len(splits.test)) == (8, 2)
    assert str(splits.test_from).startswith("held out: 0.2 of each class")


@pytest.mark.parametrize(
    ("source", "changed", "message"),
    [
        ("MNISTT", {}, r"^dataset\.source is 'MNISTT'.*Did you mean 'MNIST'"),
        ("MNIST", SPLIT, r"'MNIST' cannot be asked for split='train'.*dataset\.part, train"),
        ("SVHN", SPLIT | {"train": "training"}, r"'SVHN' cannot be asked for split='training'"),
    ],
)
def test_what_torchvision_does_not_know_is_refused(
    tmp_path: Path, source: str, changed: dict[str, Any], message: str
) -> None:
    require(source)
    with pytest.raises(ConfigError, match=message):
        of_torchvision(source, tmp_path, **changed).load()


@pytest.mark.parametrize(
    ("option", "linf", "flip"),
    [
        ("mnist", 0.3, False),
        ("fashion_mnist", 0.1, True),
        ("svhn", 8 / 255, False),
    ],
)
def test_each_option_has_its_own_radius_and_its_own_name(
    option: str, linf: float, flip: bool
) -> None:
    config = load_config(composition.compose_config([f"dataset={option}"]))
    assert isinstance(config.dataset, TorchvisionSet)
    assert config.name_of("dataset") == option
    assert (config.dataset.epsilon.linf, config.attack.epsilon) == (linf, linf)
    assert config.dataset.flip is flip


def test_a_class_that_is_no_option_is_called_by_its_name() -> None:
    words = ["dataset=torchvision", "dataset.source=KMNIST"]
    assert load_config(composition.compose_config(words)).name_of("dataset") == "KMNIST"
