"""ImageNet-C's folders: which images are read, with which labels."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from datasets.small_sets import save, whole
from robustrun.datasets.corruption_folders import (
    corrupted_folders,
    holds_folders,
    listing_digest,
)
from robustrun.errors import DataError

SHAPE = (3, 8, 8)
CLASSES = ("n02", "n01")  # as the network counts them


def make(root: Path, count: int = 2, size: int = 8) -> Path:
    """Two corruptions at two severities, of three classes: the red level of an image is its
    class."""
    for name in ("fog", "blur/zoom_blur"):
        for severity in (1, 5):
            for wnid in ("n01", "n02", "n03"):
                for number in range(count):
                    place = root / name / str(severity) / wnid / f"ILSVRC2012_val_{number}.JPEG"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    red = 80 * int(wnid[1:])
                    Image.new("RGB", (size, size), (red, 0, 0)).save(place, quality=95)
    return root


def test_each_part_has_the_images_of_the_runs_classes_with_their_labels(tmp_path: Path) -> None:
    root = make(tmp_path)
    assert holds_folders(root, ["zoom_blur"])
    assert not holds_folders(root, ["snow"])
    found = list(corrupted_folders(root, ["fog", "zoom_blur"], [5, 1], CLASSES, SHAPE))
    names = [("fog", 5), ("fog", 1), ("zoom_blur", 5), ("zoom_blur", 1)]
    assert [(part.corruption, part.severity) for part in found] == names
    for part in found:
        assert part.images.labels.tolist() == [0, 0, 1, 1]
        levels = whole(part.images)[:, 0].mean((1, 2)) * 255
        expected = torch.tensor([160.0, 160, 80, 80])
        torch.testing.assert_close(levels, expected, rtol=0, atol=3)  # JPEG's rounding


def test_fewer_examples_are_spread_over_the_classes_and_images_are_scaled(tmp_path: Path) -> None:
    root = make(tmp_path, count=4, size=20)
    (part,) = corrupted_folders(root, ["fog"], [1], CLASSES, SHAPE, examples=4)
    assert part.images.labels.tolist() == [0, 0, 1, 1]
    assert whole(part.images).shape == (4, *SHAPE)
    (grey,) = corrupted_folders(root, ["fog"], [1], CLASSES, (1, 8, 8))
    assert grey.images.shape == (1, 8, 8)


def test_what_is_missing_or_wrong_is_named_before_an_image_is_read(tmp_path: Path) -> None:
    root = make(tmp_path)
    for names, severities, classes, says in (
        (["fog"], [3], CLASSES, r"fog/3 is not a folder"),
        (["fog", "snow"], [1], CLASSES, r"snow is not a folder\. Unpack"),
        (["fog"], [1], ("n01", "cat", "dog"), r"no folder 'cat', 'dog': 2 of the run's 3 classes"),
        (["fogg"], [1], CLASSES, r"'fogg' is not a corruption.*'fog'"),
        (["fog"], [6], CLASSES, "severity is 6"),
    ):
        with pytest.raises(DataError, match=says):
            corrupted_folders(root, names, severities, classes, SHAPE)
    for image in (root / "fog" / "1" / "n01").iterdir():
        image.unlink()
    with pytest.raises(DataError, match=r"fog/1/n01 has no images"):
        next(corrupted_folders(root, ["fog"], [1], CLASSES, SHAPE))
    save(root / "fog" / "1" / "n01" / "0.JPEG", 0)
    (root / "fog" / "1" / "n01" / "0.JPEG").write_bytes(b"damaged")
    (part,) = corrupted_folders(root, ["fog"], [1], CLASSES, SHAPE)
    with pytest.raises(DataError, match=r"n01/0\.JPEG cannot be read as an image"):
        whole(part.images)


def test_other_images_of_the_measured_parts_alone_have_another_digest(tmp_path: Path) -> None:
    root = make(tmp_path)

    def digest() -> str:
        return listing_digest(root, "fog", [1], CLASSES)

    before = digest()
    for place in ("fog/5/n01", "fog/1/n03", "blur/zoom_blur/1/n01"):  # not measured
        save(root / place / "more.png", 0)
    assert digest() == before
    more = root / "fog" / "1" / "n01" / "more.png"
    save(more, 0)
    with_more = digest()
    more.rename(more.with_name("other.png"))
    renamed = digest()
    save(more.with_name("other.png"), 0, size=(20, 20))
    assert len({before, with_more, renamed, digest()}) == 4
