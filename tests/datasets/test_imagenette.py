"""Imagenette and Imagewoof as their archives have them."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from datasets.small_sets import COMMON, save, whole
from robustrun.datasets import imagenette
from robustrun.datasets.imagenette import FOLDERS, WORDS, Imagenette
from robustrun.errors import ConfigError, DataError


def small(root: Path, **changed: Any) -> Imagenette:
    settings: dict[str, Any] = {
        "name": "imagenette",
        "root": str(root),
        "download": False,
        "size": "160px",
        "image_size": 8,
        "resize": 10,
        "workers": 0,
    }
    return Imagenette(**settings | COMMON | changed)


def make(top: Path) -> Path:
    """The layout of imagenette2-160.tgz, with two classes and images of any form."""
    for part, count in (("train", 2), ("val", 1)):
        for wnid in ("n03888257", "n01440764"):
            for number in range(count):
                save(top / part / wnid / f"ILSVRC2012_{number}.JPEG", number, (16, 12 + number))
    (top / "noisy_imagenette.csv").write_text("path,noisy_labels_0\n")
    return top


def test_its_archive_is_unpacked_and_its_classes_have_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "made" / "imagenette2-160")
    root = tmp_path / "data"
    made = shutil.make_archive(str(root / "imagenette2-160"), "gztar", tmp_path / "made")
    place = Path(made).rename(root / "imagenette2-160.tgz")
    with pytest.raises(DataError, match="not e793b78cc4c9e9a4ccc0c1155377a412"):
        small(root).load()
    md5 = hashlib.md5(place.read_bytes()).hexdigest()
    monkeypatch.setitem(imagenette.FOLDERS, ("imagenette", "160px"), ("imagenette2-160", md5))
    splits = small(root).load()
    assert splits.class_names == ("tench", "parachute")
    assert splits.train.labels.tolist() == [0, 0, 1, 1]
    assert whole(splits.test).shape == (2, 3, 8, 8)


def test_the_folder_itself_may_be_the_root(tmp_path: Path) -> None:
    assert len(small(make(tmp_path / "mine")).load().train) == 4


@pytest.mark.parametrize(
    ("name", "size", "file"),
    [("imagenette", "full", "imagenette2.tgz"), ("imagewoof", "320px", "imagewoof2-320.tgz")],
)
def test_what_is_missing_is_told_with_what_to_fetch(
    tmp_path: Path, name: str, size: str, file: str
) -> None:
    with pytest.raises(DataError, match=rf"s3\.amazonaws\.com/fast-ai-imageclas/{file} \(MD5 sum"):
        small(tmp_path, name=name, size=size).load()


def test_all_twenty_classes_have_names_and_six_archives_their_sums() -> None:
    assert len(WORDS) == len(set(WORDS.values())) == 20
    assert len({md5 for _, md5 in FOLDERS.values()}) == 6
    from torchvision.datasets import Imagenette as Official

    for name, (url, md5) in Official._ARCHIVES.items():
        folder, own = FOLDERS["imagenette", name]
        assert (f"{url}", md5) == (f"https://s3.amazonaws.com/fast-ai-imageclas/{folder}.tgz", own)
    for wnid, words in Official._WNID_TO_CLASS.items():
        assert WORDS[wnid] == words[0]


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="resize is 7, but must be at least image_size"):
        small(Path(), resize=7)
