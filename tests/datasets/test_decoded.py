"""What a run uses of a folder is decoded, that alone, and once: the next run finds it cached."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from datasets.small_sets import folder
from robustrun.datasets import contents, pixel_cache, run_data
from robustrun.datasets.augmentation import as_floats
from robustrun.datasets.decoded import DecodedImages, decode
from robustrun.datasets.files import FileImages
from robustrun.datasets.image_reader import ImageReader, Pixels
from robustrun.errors import DataError
from robustrun.types import Images

TRAIN, TEST = 20, 8  # images of each of two classes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the files of a test are taken for settled at once."""
    monkeypatch.setenv("ROBUSTRUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "SETTLED", -1)
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was decoded so far, by its path below the root."""
    counts = Counter[str]()
    read = ImageReader.__call__

    def counted(self: ImageReader, path: Path, seed: int = 0) -> Pixels:
        counts["/".join(path.parts[-3:])] += 1
        return read(self, path, seed)

    monkeypatch.setattr(ImageReader, "__call__", counted)
    return counts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("test", TEST)):
        for number in range(2 * count):
            file = tmp_path / "data" / split / "ab"[number % 2] / f"{number:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(file)
    return tmp_path / "data"


def images(root: Path, split: str = "train") -> FileImages:
    part = getattr(folder(root).load(), split)
    assert isinstance(part, DecodedImages)
    return part.files


def three(test: Images) -> tuple[Images, np.ndarray]:
    """Some test images, as the ones to measure."""
    places = np.array([2, 5, 9])
    return test.subset(torch.from_numpy(places)), places


def stored(files: FileImages) -> Tensor:
    """The pixels as PIL has them."""
    arrays = [np.array(Image.open(files.path(i))) for i in range(len(files))]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def cached(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*"))


# --- what is needed ----------------------------------------------------------------------------


def test_nothing_is_decoded_before_it_is_needed(root: Path, reads: Counter[str]) -> None:
    splits = folder(root, imbalance_ratio=0.1).load()
    some = splits.test.subset(torch.tensor([3, 1])).plain()
    assert len(splits.train) == TRAIN + TRAIN // 10
    assert (some.labels.tolist(), some.shape) == ([0, 0], (3, 6, 5))
    splits.test.fingerprint()
    assert reads.total() == 0
    (batch,) = some.batches(8)
    assert torch.equal(batch[0], as_floats(stored(images(root, "test"))[[3, 1]]))
    assert reads.keys() == {"test/a/02.png", "test/a/06.png"}


def test_a_run_decodes_its_long_tailed_part_and_its_examples_once_each(
    root: Path, reads: Counter[str]
) -> None:
    data = run_data.load(folder(root, imbalance_ratio=0.1), 0.25, 0, three)
    assert data.validation is not None
    assert len(data.train) + len(data.validation) == TRAIN + TRAIN // 10
    for part in (data.train, data.validation, data.examples):
        for _ in range(2):
            list(part.batches(4))
    assert reads.total() == TRAIN + TRAIN // 10 + 3
    assert set(reads.values()) == {1}
    expected = as_floats(stored(images(root, "test"))[[2, 5, 9]])
    assert torch.equal(next(data.examples.batches(3))[0], expected)


def test_where_nothing_is_trained_no_training_image_is_decoded(
    root: Path, reads: Counter[str]
) -> None:
    data = run_data.load(folder(root), 0.25, 0, three, view=lambda splits: splits)
    assert len(data.train) == TRAIN * 2 * 3 // 4
    assert reads.total() == len(data.examples) == 3


@pytest.mark.parametrize("name", ["train/a/08.png", "test/a/04.png"])
def test_a_damaged_image_that_is_needed_is_named_before_anything_is_trained(
    root: Path, name: str
) -> None:
    (root / name).write_bytes((root / name).read_bytes()[:40])
    with pytest.raises(DataError, match=rf"{name} cannot be read as an image"):
        run_data.load(folder(root), 0.25, 0, three)


# --- the cache ---------------------------------------------------------------------------------


def test_the_next_run_decodes_nothing_and_has_the_same_images(
    root: Path, reads: Counter[str]
) -> None:
    first = decode(images(root))
    assert reads.total() == 2 * TRAIN
    again = decode(images(root))
    assert reads.total() == 2 * TRAIN
    assert torch.equal(first.pixels, stored(images(root)))
    assert torch.equal(first.pixels, again.pixels)
    assert first.fingerprint() == again.fingerprint()


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


def test_files_of_the_same_content_are_all_filled(root: Path, reads: Counter[str]) -> None:
    same = (root / "train" / "a" / "00.png").read_bytes()
    (root / "train" / "b" / "01.png").write_bytes(same)
    decode(images(root))
    again = decode(images(root))
    assert reads.total() == 2 * TRAIN
    assert torch.equal(again.pixels, stored(images(root)))


def test_several_frames_are_told_also_from_the_cache(
    root: Path, reads: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    frames = [Image.new("RGB", (5, 6), colour) for colour in ("red", "green")]
    frames[0].save(root / "train" / "b" / "03.png", save_all=True, append_images=frames[1:])
    for _ in range(2):
        caplog.clear()
        decode(images(root))
        assert caplog.text.count("only the first frame is used") == 1
        assert "b/03.png" in caplog.text
    assert reads.total() == 2 * TRAIN


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


def flipped(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


def test_a_cache_that_cannot_be_written_costs_time_alone(
    root: Path, cache: Path, reads: Counter[str]
) -> None:
    cache.parent.write_text("a file where the folder should be")
    for _ in range(2):
        assert torch.equal(decode(images(root)).pixels, stored(images(root)))
    assert reads.total() == 4 * TRAIN
    assert cache.parent.read_text() == "a file where the folder should be"


def test_without_a_home_everything_is_decoded(
    root: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError

    for name in ("ROBUSTRUN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    for _ in range(2):
        assert torch.equal(decode(images(root)).pixels, stored(images(root)))
    assert reads.total() == 4 * TRAIN


def test_a_file_that_changes_while_it_is_decoded_is_not_kept(
    root: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = root / "train" / "a" / "00.png"
    before = file.read_bytes()
    read = ImageReader.__call__

    def changing(self: ImageReader, path: Path, seed: int = 0) -> Pixels:
        if path == file:
            Image.fromarray(np.full((6, 5, 3), 9, dtype=np.uint8)).save(file)
        return read(self, path, seed)

    with monkeypatch.context() as patch:
        patch.setattr(ImageReader, "__call__", changing)
        decode(images(root))
    file.write_bytes(before)
    reads.clear()
    assert torch.equal(decode(images(root)).pixels, stored(images(root)))
    assert reads == {"train/a/00.png": 1}


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
