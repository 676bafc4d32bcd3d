"""The next run finds decoded images in the cache, unless anything in it is in doubt."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.decoding import TRAIN, images, stored
from datasets.small_sets import folder
from robustrun.datasets import pixel_cache
from robustrun.datasets.decoded import decode

pytestmark = pytest.mark.usefixtures("cache")


def cached(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*"))


def flipped(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


def test_the_cache_goes_by_content_not_by_place(
    root: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    decode(images(root))
    (tmp_path / "moved").mkdir()
    root.rename(tmp_path / "moved" / "elsewhere")
    root = tmp_path / "moved" / "elsewhere"
    (root / "train" / "a" / "00.png").rename(root / "train" / "a" / "99.png")
    assert torch.equal(decode(images(root)).pixels, stored(images(root)))
    assert reads.total() == 2 * TRAIN


def test_only_what_changed_or_is_new_is_decoded(root: Path, reads: Counter[str]) -> None:
    decode(images(root).subset(torch.tensor([0, 7])))
    reads.clear()
    Image.fromarray(np.full((6, 5, 3), 9, dtype=np.uint8)).save(root / "train" / "a" / "14.png")
    both = decode(images(root).subset(torch.tensor([7, 3, 0])))
    assert reads == {"train/a/14.png": 1, "train/a/06.png": 1}
    assert torch.equal(both.pixels, stored(images(root))[[7, 3, 0]])


def test_another_way_of_reading_finds_nothing_of_this_one(root: Path, reads: Counter[str]) -> None:
    decode(images(root))
    grey = folder(root, channels=1).load().train
    list(grey.batches(8))
    assert reads.total() == 4 * TRAIN
    assert grey.shape == (1, 6, 5)


@pytest.mark.parametrize("damage", ["empty", "cut", "longer", "head", "table", "text", "folder"])
def test_a_damaged_cache_is_not_believed(
    root: Path, cache: Path, reads: Counter[str], damage: str
) -> None:
    decode(images(root))
    (place,) = cached(cache)
    content = place.read_bytes()
    place.unlink()
    if damage == "folder":
        place.mkdir()
    else:
        damaged = {
            "empty": b"",
            "cut": content[:-1],
            "longer": content + b"x",
            "head": flipped(content, len(pixel_cache.MAGIC)),
            "table": flipped(content, pixel_cache.HEAD + 3),
            "text": b"no cache",
        }
        place.write_bytes(damaged[damage])
    assert torch.equal(decode(images(root)).pixels, stored(images(root)))
    assert reads.total() == 4 * TRAIN


def test_of_a_cache_with_one_flipped_bit_all_other_images_are_used(
    root: Path, cache: Path, reads: Counter[str]
) -> None:
    decode(images(root))
    (place,) = cached(cache)
    place.write_bytes(flipped(place.read_bytes(), -1))
    assert torch.equal(decode(images(root)).pixels, stored(images(root)))
    assert reads.total() == 2 * TRAIN + 1


def test_a_cache_that_cannot_be_written_costs_time_alone(
    root: Path, cache: Path, reads: Counter[str]
) -> None:
    cache.parent.write_text("a file where the folder should be")
    for _ in range(2):
        assert torch.equal(decode(images(root)).pixels, stored(images(root)))
    assert reads.total() == 4 * TRAIN
    assert cache.parent.read_text() == "a file where the folder should be"


def test_the_cache_has_a_bound_and_what_was_not_used_for_longest_goes_first(
    root: Path, cache: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [images(root).subset(torch.arange(at, at + 4)) for at in (0, 4, 8)]
    decode(parts[0])
    size = cached(cache)[0].stat().st_size
    monkeypatch.setattr(pixel_cache, "MOST_BYTES", 2 * size)
    decode(parts[1])
    for age, path in enumerate(cached(cache)):
        os.utime(path, (1000 + age, 1000 + age))
    decode(parts[0])  # it is used now
    decode(parts[2])
    assert sum(path.stat().st_size for path in cached(cache)) == 2 * size
    reads.clear()
    decode(parts[0])
    decode(parts[2])
    assert reads.total() == 0
    decode(parts[1])
    assert reads.total() == 4


def test_more_than_the_bound_is_not_kept_and_leaves_the_rest(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode(images(root).subset(torch.arange(2)))
    before = cached(cache)
    monkeypatch.setattr(pixel_cache, "MOST_BYTES", 1000)
    decode(images(root))
    assert cached(cache) == before
