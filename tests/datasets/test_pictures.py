"""Image folders: what is seen of each image."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.small_sets import folder
from robustrun.datasets.border import checked_splits
from robustrun.datasets.folder import ImageFolder
from robustrun.errors import ConfigError, DataError
from robustrun.types import Images
from tests.faults.process import printed


def levels(size: tuple[int, int] = (4, 6), bands: int = 3, seed: int = 0) -> np.ndarray:
    """Random bytes, height x width x bands."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (*size, bands), dtype=np.uint8).squeeze()


def tree(root: Path, image: Image.Image, ending: str = "png", **how: Any) -> Path:
    """The same image in both classes of both splits."""
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (root / place).mkdir(parents=True)
        image.save(root / place / f"0.{ending}", **how)
    return root


def whole(images: Images) -> np.ndarray:
    """All pixels, N x H x W x C, 0 to 255."""
    x = torch.cat([x for x, _ in images.batches(3)])
    return (x * 255).round().permute(0, 2, 3, 1).numpy()


def every_way(root: Path, **changed: Any) -> list[np.ndarray]:
    """Training and test images, from memory and from disk."""
    parts = [folder(root, memory_limit_gb=gb, **changed).load() for gb in (1.0, 0.0)]
    return [whole(images) for part in parts for images in (part.train, part.test)]


# --- orientation -------------------------------------------------------------------------------

# Where EXIF says the first row and the first column of the stored image are (TIFF 6.0, page 36).
STORED = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a[:, ::-1].swapaxes(0, 1),  # right, top: rows are columns from the right
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda a: a[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("ending", ["png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_whichever_way_the_camera_was_held(
    tmp_path: Path, orientation: int, ending: str
) -> None:
    upright = levels((4, 6))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](upright))
    lossless = {"lossless": True} if ending == "webp" else {}
    tree(tmp_path, Image.fromarray(stored), ending, exif=exif, **lossless)
    for seen in every_way(tmp_path):
        assert seen.shape == (2, 4, 6, 3)
        assert (seen == upright).all()


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0nothing of EXIF"])
def test_damaged_exif_spoils_no_picture(tmp_path: Path, exif: bytes) -> None:
    stored = levels()
    tree(tmp_path, Image.fromarray(stored), exif=exif)
    for seen in every_way(tmp_path):
        assert (seen == stored).all()


# --- alpha and modes ---------------------------------------------------------------------------


def over(colour: np.ndarray, alpha: np.ndarray, background: tuple[float, ...]) -> np.ndarray:
    share = alpha[..., None] / 255
    return share * colour + (1 - share) * 255 * np.array(background)


@pytest.mark.parametrize("background", [(1.0,), (0.0,), (0.2, 0.4, 1.0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparency_shows_the_background(
    tmp_path: Path, mode: str, background: tuple[float, ...]
) -> None:
    stored = levels(bands=4)
    image = Image.fromarray(stored)
    if mode == "LA":
        image = Image.fromarray(levels(bands=2))
    how = {}
    if mode in ("P", "RGB"):  # one colour of many is transparent
        image = Image.fromarray(stored[..., :3] // 128 * 255)
        how = {"transparency": (255, 0, 0)}
    if mode == "P":
        image = image.quantize(8)
        how = {"transparency": 3}
    tree(tmp_path, image, **how)
    with Image.open(tmp_path / "train/a/0.png") as reread:
        assert reread.mode == mode
        rgba = np.array(reread.convert("RGBA"))
    assert (rgba[..., 3] < 255).any()
    expected = over(rgba[..., :3], rgba[..., 3], background)
    if mode == "LA":
        expected = expected @ np.array([0.299, 0.587, 0.114])[:, None]  # ITU-R 601, as PIL has it
    for seen in every_way(tmp_path, background=background):
        assert seen.shape[-1] == (1 if mode == "LA" else 3)
        # Bytes are rounded once in composing and, for grey, once more.
        assert abs(seen - expected).max() <= 1.01


def test_without_a_background_alpha_is_dropped_as_in_older_runs(tmp_path: Path) -> None:
    stored = levels(bands=4)
    tree(tmp_path, Image.fromarray(stored))
    for seen in every_way(tmp_path, background=None):
        assert (seen == stored[..., :3]).all()
    assert ImageFolder.ADDED_LATER["background"] is None


@pytest.mark.parametrize("background", [(), (0.1, 0.2), (1.5,), (-0.1, 0.0, 0.0)])
def test_background_that_is_no_colour_is_refused(tmp_path: Path, background: Any) -> None:
    with pytest.raises(ConfigError, match=r"^background is .*one number in \[0, 1\]"):
        folder(tmp_path, background=background)


def test_inks_become_light(tmp_path: Path) -> None:
    inks = levels(bands=4)
    tree(tmp_path, Image.fromarray(inks, "CMYK"), "tif")
    expected = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255
    for seen in every_way(tmp_path):
        assert abs(seen - expected).max() <= 1  # each product is rounded


# --- frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["gif", "png", "tif", "webp"])
def test_of_several_frames_the_first_is_used_and_that_is_said_once(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (Image.new("RGB", (4, 4), (level, level, level)) for level in (0, 255))
    lossless = {"lossless": True} if ending == "webp" else {}
    tree(tmp_path, first, ending, save_all=True, append_images=[second], **lossless)
    train = folder(tmp_path, memory_limit_gb=0.0).load().train
    assert not whole(train).any()
    assert not whole(train.subset(torch.tensor([1]))).any()
    told = [r.getMessage() for r in caplog.records if "first frame" in r.getMessage()]
    place = tmp_path / "train" / "a" / f"0.{ending}"
    assert told == [f"only the first frame is used of images that have several: {place}"]


def test_of_one_frame_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tree(tmp_path, Image.new("L", (4, 4)), "gif")).load()
    assert not [r for r in caplog.records if "frame" in r.getMessage()]


def test_classes_and_their_numbers_of_images_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tree(tmp_path, Image.new("L", (4, 4)))
    Image.new("L", (4, 4)).save(tmp_path / "train/b/1.png")
    checked_splits(folder(tmp_path).load())
    assert "3 training images: a: 1, b: 2" in caplog.text
    assert "2 test images: a: 1, b: 1" in caplog.text


# --- names that are no text --------------------------------------------------------------------


ODD = b"caf\xe9"  # latin-1, and no UTF-8


def odd_tree(root: Path) -> Path:
    """Two classes that a mean tells apart; one class and one file have names that are no text."""
    for split, count in (("train", 8), ("test", 3)):
        for place, level in ((b"tea", 40), (ODD, 210)):
            directory = os.path.join(os.fsencode(root / split), place)
            os.makedirs(directory)
            for n in range(count):
                name = os.path.join(directory, b"%d\xff.png" % n)
                Image.fromarray(levels((8, 8), seed=n) // 8 + np.uint8(level)).save(
                    os.fsdecode(name)
                )
    return root


def test_names_that_are_no_text_are_read_and_shown(tmp_path: Path) -> None:
    splits = folder(odd_tree(tmp_path)).load()
    assert splits.class_names == ("caf\\xe9", "tea")
    assert whole(splits.train)[:8].mean() > 200 > whole(splits.train)[8:].mean()
    with open(os.path.join(os.fsencode(tmp_path), b"train", ODD, b"0\xff.png"), "wb") as file:
        file.write(b"no image")
    with pytest.raises(DataError) as caught:
        folder(tmp_path).load()
    assert "train/caf\\xe9/0\\xff.png cannot be read" in str(caught.value)
    str(caught.value).encode()  # goes into every log


def test_a_whole_run_bears_names_that_are_no_text(tmp_path: Path) -> None:
    odd_tree(tmp_path / "data")
    words = (
        "method=standard model=simple_cnn dataset=image_folder dataset.root=data evaluation=none "
        "training.epochs=1 training.batch_size=4 dataset.workers=0 dataset.flip=false "
        "device.threads=1 hydra.run.dir=run"
    )
    said = printed(tmp_path, *words.split())
    assert "16 training images: caf\\xe9: 8, tea: 8" in said
    data = json.loads((tmp_path / "run/results.json").read_text())["dataset"]
    assert data["class_names"] == ["caf\\xe9", "tea"]
    assert data["test_class_counts"] == [3, 3]
    printed(tmp_path, "report", "run")
