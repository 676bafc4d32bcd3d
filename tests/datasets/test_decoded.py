"""Of a folder that fits into memory, what is needed is decoded, that alone, and once."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.decoding import TRAIN, images, stored
from datasets.small_sets import folder
from robustrun.datasets.augmentation import as_floats
from robustrun.datasets.decoded import decode
from robustrun.datasets.image_reader import ImageReader, Pixels

pytestmark = pytest.mark.usefixtures("cache")


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


def test_files_of_the_same_content_are_all_filled(root: Path, reads: Counter[str]) -> None:
    same = (root / "train" / "a" / "00.png").read_bytes()
    (root / "train" / "b" / "01.png").write_bytes(same)
    decode(images(root))
    again = decode(images(root))
    assert reads.total() == 2 * TRAIN
    assert torch.equal(again.pixels, stored(images(root)))
