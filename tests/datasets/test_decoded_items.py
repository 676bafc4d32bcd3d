"""Pairs of a picture and its label as arrays."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.datasets import ImageFolder

from robustrun.datasets import decoded_items
from robustrun.datasets.decoded_items import arrays_of, decoded
from robustrun.errors import DataError

DRAWN = np.random.default_rng(0)
LEVELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
PAIRS = [(Image.fromarray(levels), label) for label, levels in enumerate(LEVELS)]


def write(file: Path, mode: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(DRAWN.integers(0, 256, (6, 5, 3), dtype=np.uint8)).convert(mode).save(file)


def test_pictures_are_decoded_in_order(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(decoded_items, "LOG_EVERY", 2)
    images, labels = arrays_of(PAIRS, None)
    assert np.array_equal(images, LEVELS)
    assert labels.tolist() == [0, 1, 2, 3]
    assert "decoded 2 of 4 images" in caplog.text


def test_pictures_are_scaled_by_the_shorter_side_and_cropped_in_the_centre() -> None:
    images, _ = arrays_of(PAIRS, 5)
    assert images.shape == (4, 5, 5, 3)
    assert set(images[0].reshape(-1).tolist()) <= set(LEVELS[0].reshape(-1).tolist())


def test_all_are_grey_or_in_colour_as_the_first_is() -> None:
    grey = PAIRS[0][0].convert("L")
    assert decoded([(grey, 0), PAIRS[1]], None)[0].shape == (2, 6, 5, 1)
    mixed = decoded([PAIRS[1], (grey, 0)], None)[0]
    assert mixed.shape == (2, 6, 5, 3)
    assert np.array_equal(mixed[1], np.array(grey)[..., None].repeat(3, axis=2))


def test_another_size_is_refused_with_the_place() -> None:
    with pytest.raises(DataError, match=r"Image 1 is 3 x 6 pixels, but the first is 5 x 6"):
        decoded([PAIRS[0], (PAIRS[1][0].crop((0, 0, 3, 6)), 1)], None)


def test_of_no_picture_there_is_no_array() -> None:
    images, labels = decoded([], None)
    assert (len(images), len(labels)) == (0, 0)


def test_another_kind_of_labels_than_one_number_is_read_from_the_pairs() -> None:
    class Detailed:  # as QMNIST: of each image's numbers, the first is its class
        data, targets = torch.from_numpy(LEVELS), torch.zeros(4, 8)
        __len__, __getitem__ = PAIRS.__len__, PAIRS.__getitem__

    images, labels = arrays_of(Detailed(), None)
    assert np.array_equal(images, LEVELS)
    assert labels.tolist() == [0, 1, 2, 3]


def test_a_part_made_of_files_is_decoded_once_and_then_comes_from_the_cache(
    root: Path, cache: Path, reads: Counter[str]
) -> None:
    part = ImageFolder(str(root / "train"))
    for _ in range(2):
        images, labels = arrays_of(part, 4)
        expected, its_labels = decoded(part, 4)  # pair by pair
        assert np.array_equal(images, expected)
        assert labels.tolist() == its_labels.tolist()
        assert set(reads.values()) == {1}
    assert cache.is_dir()


def caltech101(root: Path) -> Any:
    # In the real one, a class that is left out, pictures from 1 on, grey ones among coloured ones.
    for name, count in (("BACKGROUND_Google", 1), ("Faces", 2), ("airplanes", 3)):
        for number in range(1, count + 1):
            place = root / "caltech101" / "101_ObjectCategories" / name
            write(
                place / f"image_{number:04}.jpg", "L" if (name, number) == ("Faces", 2) else "RGB"
            )
    (root / "caltech101" / "Annotations").mkdir()
    return torchvision.datasets.Caltech101(root)


def caltech256(root: Path) -> Any:
    for number, (name, count) in enumerate((("001.ak47", 2), ("002.flag", 1)), 1):
        for image in range(1, count + 1):
            place = root / "caltech256" / "256_ObjectCategories" / name
            write(place / f"{number:03}_{image:04}.jpg", "RGB")
    return torchvision.datasets.Caltech256(root)


def inaturalist(root: Path) -> Any:
    for number, name in enumerate(("frog", "newt")):
        ranks = "Animalia_Chordata_Amphibia_Anura_Aus_Bus"
        write(root / "2021_valid" / f"{number:05}_{ranks}_{name}" / "a4b1.jpg", "RGB")
    return torchvision.datasets.INaturalist(root, "2021_valid")


def omniglot(root: Path) -> Any:
    archive = root / "omniglot-py" / "images_background.zip"
    for place in ("Greek/character01/0394_01", "Greek/character02/0395_01", "Latin/a/0684_01"):
        write(archive.with_suffix("") / f"{place}.png", "1")
    archive.write_bytes(b"")
    sums = {"images_background": hashlib.md5(b"").hexdigest()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.datasets.Omniglot, "zips_md5", sums)
        return torchvision.datasets.Omniglot(root)


@pytest.mark.parametrize("source", [caltech101, caltech256, inaturalist, omniglot])
def test_pictures_whose_paths_no_list_has_come_from_the_cache_too(
    source: Callable[[Path], Any], tmp_path: Path, cache: Path, reads: Counter[str]
) -> None:
    if source is caltech101:
        pytest.importorskip("scipy", reason="robustrun[svhn] is not installed")
    part = source(tmp_path)
    for _ in range(2):
        images, labels = arrays_of(part, 4)
        expected, its_labels = decoded(part, 4)  # item by item
        assert np.array_equal(images, expected)
        assert labels.tolist() == its_labels.tolist()
        assert list(reads.values()) == [1] * len(part)


def test_labels_are_those_that_a_part_gives_and_not_others_beside_its_files(root: Path) -> None:
    part = ImageFolder(str(root / "train"), target_transform=lambda label: 1 - label)
    assert part.targets[0] == 0
    _, labels = arrays_of(part, None)
    assert labels.tolist() == [1 - label for label in part.targets]


def test_a_damaged_file_is_named(root: Path, cache: Path) -> None:
    (root / "train" / "a" / "02.png").write_bytes(b"damaged")
    part = ImageFolder(str(root / "train"))
    with pytest.raises(DataError, match=r"a/02\.png cannot be read as an image"):
        arrays_of(part, None)
    with pytest.raises(DataError, match=r"Image 1 cannot be read \(cannot identify"):
        decoded(part, None)
