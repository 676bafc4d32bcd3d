"""A folder of images, an empty cache, and a count of what is decoded."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.decoding import TEST, TRAIN
from robustrun.datasets import contents
from robustrun.datasets.image_reader import ImageReader, Pixels


@pytest.fixture
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
