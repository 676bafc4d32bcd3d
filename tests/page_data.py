"""Small data sets in their real formats, where the commands of README and docs/ look for them."""

from pathlib import Path

import numpy as np
from PIL import Image

from robustrun.datasets.corruptions import CORRUPTIONS, SEVERITIES
from tests.datasets.small_tables import picture, write_parquet

CLASSES = ("bird", "cat", "dog", "frog")
DRAWN = np.random.default_rng(0)


def make_data(folder: Path) -> None:
    for name in ("shapes", "cifar10-jpeg"):
        write_classes(folder / "data" / name / "train", 6)
        write_classes(folder / "data" / name / "test", 2)
    write_photos(folder / "photos")
    write_tables(folder)
    write_classes(folder / "data" / "eurosat" / "2750", 5)
    write_mnist(folder / "data" / "MNIST" / "raw")
    write_corruptions(folder / "data")


def images(label: int, count: int) -> np.ndarray:
    """Of 32 x 32 pixels, brighter in each class than in the one before."""
    return DRAWN.integers(60 * label, 60 * label + 75, (count, 32, 32, 3), dtype=np.uint8)


def write_classes(folder: Path, count: int, ending: str = "png") -> None:
    """CLASS/NUMBER.png"""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(images(label, count)):
            Image.fromarray(pixels).save(folder / name / f"{number}.{ending}")


def write_photos(folder: Path) -> None:
    """Class folders, and a list of their files."""
    write_classes(folder, 5)
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*.png"))]
    rows = [f"{file.as_posix()},{file.parent.name}" for file in files]
    (folder / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")


def write_tables(folder: Path) -> None:
    """An .npz, a parquet file, and a folder of such files in parts."""
    pixels = np.concatenate([images(label, 6) for label in range(len(CLASSES))])
    labels = np.repeat(np.arange(len(CLASSES)), 6)
    np.savez(folder / "mine.npz", images=pixels, labels=labels)
    species = [CLASSES[label] for label in labels]
    stored = [picture(seed) for seed in range(len(labels))]
    write_parquet(folder / "mine.parquet", stored, species, names=("image", "species"))
    for part in ("train", "test"):
        write_parquet(folder / "FOLDER" / f"{part}-00000-of-00001.parquet", stored, species)


def write_mnist(folder: Path) -> None:
    """The four files that were in its archives: 60 images of each digit, or two."""
    folder.mkdir(parents=True)
    for part, each in (("train", 60), ("t10k", 2)):
        labels = np.repeat(np.arange(10, dtype=np.uint8), each)
        pixels = DRAWN.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(content)


def write_corruptions(data: Path) -> None:
    """CIFAR-10-C's arrays and ImageNet-C's folders, with two images of each class."""
    arrays = data / "CIFAR-10-C"
    arrays.mkdir()
    pixels = np.concatenate([images(label, 2) for label in range(len(CLASSES))])
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.uint8), 2)
    np.save(arrays / "labels.npy", np.tile(labels, len(SEVERITIES)))
    for name in CORRUPTIONS:
        np.save(arrays / f"{name}.npy", np.tile(pixels, (len(SEVERITIES), 1, 1, 1)))
        for severity in SEVERITIES:
            write_classes(data / "ImageNet-C" / name / str(severity), 2, "jpeg")
