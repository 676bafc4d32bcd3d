"""Class folders as a data set: image_folder and ImageNet."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.small_sets import broken, folder, forks, imagenet, make_tree, whole
from robustrun.errors import ConfigError, DataError


def test_folder_gives_classes_in_alphabetical_order_and_the_files_pixels(tmp_path: Path) -> None:
    splits = folder(make_tree(tmp_path)).load()
    assert splits.class_names == ("ant", "bee")
    assert splits.train.labels.tolist() == [0] * 3 + [1] * 5
    assert (len(splits.test), splits.train.shape) == (4, (3, 10, 10))
    with Image.open(tmp_path / "train" / "bee" / "4.png") as image:
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    assert torch.equal(whole(splits.train)[7], expected)


def test_folder_can_be_long_tailed(tmp_path: Path) -> None:
    splits = folder(make_tree(tmp_path), imbalance_ratio=0.5).load()
    assert splits.train.labels.bincount().tolist() == [3, 2]
    assert len(splits.test) == 4


@forks
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("memory_limit_gb", [0.0, 1.0])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("corrupt", r"train/bee/1\.png cannot be read"),
        ("truncated", r"train/bee/1\.png cannot be read"),
        ("size", r"train/bee/1\.png is 9 x 10 .*10 x 10\. Set dataset\.image_size"),
        ("deep", r"train/bee/1\.png has more than 8 bits"),
    ],
)
def test_bad_image_among_good_ones_is_named(
    tmp_path: Path, fault: str, message: str, memory_limit_gb: float, workers: int
) -> None:
    broken(tmp_path, fault)
    with pytest.raises(DataError, match=message) as caught:
        whole(folder(tmp_path, memory_limit_gb=memory_limit_gb, workers=workers).load().train)
    assert "Traceback" not in str(caught.value)


@forks
def test_imagenet_gives_the_same_random_crops_for_any_number_of_workers(tmp_path: Path) -> None:
    make_tree(tmp_path, test="val", size=(20, 15))
    runs = []
    for workers, seed in ((0, 0), (2, 0), (0, 1)):
        torch.manual_seed(seed)
        runs.append(whole(imagenet(tmp_path, workers=workers, flip=True).load().train, 3))
    assert runs[0].shape == (8, 3, 8, 8)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_imagenet_crops_differ_between_epochs(tmp_path: Path) -> None:
    train = imagenet(make_tree(tmp_path, test="val", size=(20, 15))).load().train
    back = torch.arange(len(train)).flip(0)  # another epoch has another order
    assert not torch.equal(whole(train), whole(train, order=back).flip(0))


def test_imagenet_tests_on_the_centre_and_draws_nothing(tmp_path: Path) -> None:
    splits = imagenet(make_tree(tmp_path, test="val", size=(20, 10))).load()
    with Image.open(tmp_path / "val" / "ant" / "0.png") as image:
        levels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    before = torch.get_rng_state()
    assert torch.equal(whole(splits.test)[0], levels[:, 1:9, 6:14] / 255)
    assert torch.equal(whole(splits.train.plain()), whole(splits.train.plain()))
    assert torch.equal(torch.get_rng_state(), before)


def test_imagenet_refuses_a_crop_larger_than_the_image(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^resize is 7"):
        imagenet(tmp_path, resize=7)
