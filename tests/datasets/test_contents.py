"""Fingerprints of files: over content and names, remembered while a file stays as it is."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustrun.datasets import contents
from robustrun.datasets.contents import cache_file, content_digests
from robustrun.datasets.files import FileImages
from robustrun.datasets.image_reader import ImageReader
from robustrun.datasets.tree import find_tree
from robustrun.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the files of a test are taken for settled at once."""
    monkeypatch.setenv("ROBUSTRUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "SETTLED", -1)
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that were opened so far."""
    opened: list[bytes] = []
    read = contents.content_sha256

    def counted(path: bytes) -> bytes:
        opened.append(path)
        return read(path)

    monkeypatch.setattr(contents, "content_sha256", counted)
    return opened


def write(root: Path) -> Path:
    """Two classes of bitmaps, all files of one size."""
    for split in ("train", "test"):
        for number, name in enumerate(("a/0", "a/1", "b/0", "b/1")):
            file = root / split / f"{name}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 4, 3), number + 1, dtype=np.uint8)).save(file)
    return root


def train_images(root: Path) -> FileImages:
    _, train, _, _ = find_tree(str(root), "train", "test")
    return FileImages(*train, ImageReader((3, 4, 4), None, False, None), workers=0)


def print_of(root: Path) -> str:
    return train_images(root).fingerprint()


def replace_content(file: Path, content: bytes) -> None:
    """Other content of the same size, with the modification time that the file had."""
    before = file.stat()
    assert before.st_size == len(content)
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_of_the_same_size_and_time_with_other_content_changes_the_fingerprint(
    tmp_path: Path,
) -> None:
    root = write(tmp_path / "data")
    before = print_of(root)
    assert print_of(root) == before
    replace_content(root / "train/a/0.bmp", (root / "train/b/1.bmp").read_bytes())
    assert print_of(root) != before


def test_class_folders_that_changed_places_change_the_fingerprint(tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    before = print_of(root)
    (root / "train/a").rename(root / "train/c")
    (root / "train/b").rename(root / "train/a")
    (root / "train/c").rename(root / "train/b")
    assert print_of(root) != before


def test_renamed_file_or_another_way_of_reading_changes_the_fingerprint(tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    before = print_of(root)
    (root / "train/a/1.bmp").rename(root / "train/a/2.bmp")
    renamed = print_of(root)
    images = train_images(root)
    resized = FileImages(
        images.root, images.names, images.labels, ImageReader((3, 4, 4), 5, False, None), workers=0
    )
    assert len({before, renamed, resized.fingerprint()}) == 3


@pytest.mark.parametrize("how", ["renamed", "copied", "linked"])
def test_the_same_content_elsewhere_has_the_same_fingerprint(tmp_path: Path, how: str) -> None:
    root, other = write(tmp_path / "data"), tmp_path / "elsewhere" / "deep"
    before = print_of(root)
    other.parent.mkdir()
    if how == "renamed":
        root.rename(other)
    elif how == "copied":
        shutil.copytree(root, other)
    else:
        other.symlink_to(root)
    assert print_of(other) == before


@pytest.mark.parametrize("random_crop", [False, True])
def test_the_fingerprint_is_the_one_of_older_versions(tmp_path: Path, random_crop: bool) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text({"a": "one", "b": "two"}[name])
    reader = ImageReader((3, 4, 4), 5, False, (255, 0, 255), random_crop)
    images = FileImages(tmp_path, np.array([b"a", b"b"]), torch.tensor([0, 1]), reader, workers=0)
    expected = "914cea4dd8234dca5d45c920b81760059a235d071d0063132cda0d9801c6bb4e"
    assert images.fingerprint() == expected


def test_random_crops_are_configuration_and_not_content(tmp_path: Path) -> None:
    images = train_images(write(tmp_path / "data"))
    reader = ImageReader((3, 4, 4), 5, False, None, random_crop=True)
    cropped = FileImages(images.root, images.names, images.labels, reader, workers=3)
    assert cropped.fingerprint() == cropped.plain().fingerprint()


def test_a_part_has_the_fingerprint_of_its_own_files(tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    images = train_images(root)
    first, last = images.subset(torch.tensor([0, 1])), images.subset(torch.tensor([2, 3]))
    before = first.fingerprint(), last.fingerprint()
    replace_content(root / "train/b/1.bmp", (root / "train/a/0.bmp").read_bytes())
    assert first.fingerprint() == before[0]
    assert last.fingerprint() != before[1]


def test_what_was_read_is_remembered_and_only_what_changed_is_read_again(
    tmp_path: Path, reads: list[bytes]
) -> None:
    root = write(tmp_path / "data")
    first = print_of(root)
    assert len(reads) == 4
    assert print_of(root) == first
    assert len(reads) == 4
    replace_content(root / "train/a/1.bmp", (root / "train/a/0.bmp").read_bytes())
    changed = print_of(root)
    assert reads[4:] == [os.fsencode(root / "train/a/1.bmp")]
    assert changed != first
    os.environ["ROBUSTRUN_CACHE"] = str(tmp_path / "another")  # read anew, it is the same
    assert print_of(root) == changed
    assert len(reads) == 9


def test_a_file_that_changed_a_moment_ago_is_not_remembered(
    tmp_path: Path, reads: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SETTLED", 3600 * 10**9)
    root = write(tmp_path / "data")
    assert print_of(root) == print_of(root)
    assert len(reads) == 8


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "text", "folder"])
def test_a_damaged_cache_is_not_believed(tmp_path: Path, reads: list[bytes], damage: str) -> None:
    root = write(tmp_path / "data")
    before = print_of(root)
    place = cache_file(root / "train")
    assert place is not None
    stored = place.read_bytes()
    flipped = bytearray(stored)
    flipped[-1] ^= 1
    spoilt = {"empty": b"", "cut": stored[:-48], "bit": bytes(flipped), "text": b"no cache"}
    place.unlink()
    place.mkdir() if damage == "folder" else place.write_bytes(spoilt[damage])
    assert print_of(root) == before
    assert len(reads) == 8


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, reads: list[bytes], cache: Path
) -> None:
    root = write(tmp_path / "data")
    cache.write_text("a file where the folder should be")
    assert print_of(root) == print_of(root)
    assert len(reads) == 8
    assert cache.read_text() == "a file where the folder should be"


def test_what_was_read_before_an_error_is_remembered(
    tmp_path: Path, reads: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "FILES_AT_ONCE", 1)
    root = write(tmp_path / "data") / "train"
    names = [b"a/0.bmp", b"a/1.bmp", b"missing.bmp"]
    with pytest.raises(DataError, match=r"missing\.bmp cannot be read \(No such file"):
        content_digests(root, names)
    before = len(reads)
    content_digests(root, names[:2])
    assert len(reads) == before


def test_names_that_are_no_text_are_read_as_they_are(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "data")
    os.mkdir(folder)
    for name in (b"caf\xe9", b"caf\xc3\xa9"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(name)
    one, other = content_digests(tmp_path / "data", [b"caf\xe9", b"caf\xc3\xa9"])
    assert one != other
