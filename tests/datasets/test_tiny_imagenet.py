"""Tiny-ImageNet as its archive has it, and as people sort it."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from datasets.small_sets import COMMON, save, whole
from robustrun.datasets import tiny_imagenet
from robustrun.datasets.tiny_imagenet import TinyImageNet
from robustrun.errors import DataError
from robustrun.storage.transfer import RemoteFile

WNIDS = ("n01443537", "n01629819")
LISTED = [WNIDS[1], WNIDS[0], WNIDS[1]]  # of val_0.JPEG, val_1.JPEG, ...


def tiny(root: Path, **changed: Any) -> TinyImageNet:
    settings: dict[str, Any] = {"root": str(root), "download": False, "workers": 0}
    return TinyImageNet(**settings | {"memory_limit_gb": 1.0} | COMMON | changed)


def make(top: Path) -> Path:
    """The layout of tiny-imagenet-200.zip, with two classes."""
    for wnid in WNIDS:
        for number in range(2):
            save(top / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", number, (64, 64))
        (top / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t9\t9\n")
    lines = []
    for number, wnid in enumerate(LISTED):
        mode = "L" if number == 2 else "RGB"  # some are grey
        save(top / "val" / "images" / f"val_{number}.JPEG", 9 + number, (64, 64), mode)
        lines.append(f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (top / "val" / "val_annotations.txt").write_text("".join(lines))
    save(top / "test" / "images" / "test_0.JPEG", 99, (64, 64))
    words = "n01443537\tgoldfish, Carassius auratus\nn01629819\tEuropean fire salamander\n"
    (top / "words.txt").write_text(words)
    return top


def test_its_classes_have_names_and_val_is_the_test_split(tmp_path: Path) -> None:
    make(tmp_path / "tiny-imagenet-200")
    splits = tiny(tmp_path).load()
    assert splits.class_names == ("goldfish", "European fire salamander")
    assert splits.train.labels.tolist() == [0, 0, 1, 1]
    assert splits.test.labels.tolist() == [1, 0, 1]
    assert whole(splits.test).shape == (3, 3, 64, 64)


def test_val_sorted_into_class_folders_and_the_folder_itself_as_root_are_the_same(
    tmp_path: Path,
) -> None:
    top = make(tmp_path / "mine")
    before = tiny(top).load()
    train, test = whole(before.train), whole(before.test)
    for number, wnid in enumerate(LISTED):
        place = top / "val" / wnid / "images" / f"val_{number}.JPEG"
        place.parent.mkdir(parents=True, exist_ok=True)
        (top / "val" / "images" / f"val_{number}.JPEG").rename(place)
    (top / "val" / "images").rmdir()
    after = tiny(top, memory_limit_gb=0.0).load()
    assert after.class_names == before.class_names
    assert after.test.labels.tolist() == [0, 1, 1]
    assert torch.equal(whole(after.test), test[[1, 0, 2]])
    assert torch.equal(whole(after.train), train)


def test_its_archive_is_unpacked_where_it_was_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "made" / "tiny-imagenet-200")
    root = tmp_path / "data"
    shutil.make_archive(str(root / "tiny-imagenet-200"), "zip", tmp_path / "made")
    md5 = hashlib.md5((root / "tiny-imagenet-200.zip").read_bytes()).hexdigest()
    with pytest.raises(DataError, match="248,100,043"):
        tiny(root).load()
    archive = RemoteFile(tiny_imagenet.ARCHIVE.url, f"md5:{md5}")
    monkeypatch.setattr(tiny_imagenet, "ARCHIVE", archive)
    assert len(tiny(root).load().train) == 4


def test_what_is_missing_is_told_with_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cs231n\.stanford\.edu/tiny-imagenet-200\.zip.*90528d7ca"):
        tiny(tmp_path).load()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("val_7.JPEG\tn01443537\t0\t0\t9\t9", r"txt, line 1: there is no image 'val_7\.JPEG'"),
        ("val_0.JPEG\tn99999999\t0\t0\t9\t9", "or no class 'n99999999'"),
        ("", "line 1"),
    ],
)
def test_a_list_that_does_not_fit_is_named_with_its_line(
    tmp_path: Path, line: str, says: str
) -> None:
    top = make(tmp_path / "tiny-imagenet-200")
    (top / "val" / "val_annotations.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=says):
        tiny(tmp_path).load()
    (top / "val" / "val_annotations.txt").unlink()
    with pytest.raises(DataError, match=r"val_annotations\.txt is missing"):
        tiny(tmp_path).load()
