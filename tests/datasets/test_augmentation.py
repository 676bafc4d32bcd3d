"""Augmentation against NumPy's and torchvision's, image by image."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import AutoAugmentPolicy, v2
from torchvision.transforms import functional as torchvision_functional

from datasets.small_sets import (
    numbered,
    numbers,
    whole,
)
from robustrun.configuration.composition import compose_config
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import load_config
from robustrun.datasets.augmentation import (
    Augment,
    jittered,
    random_crop,
    random_flip,
    random_rotation,
    recoloured,
    reflected,
    rotated,
    with_policy,
)
from robustrun.datasets.tensors import TensorImages


def photographs(count: int, channels: int = 3, height: int = 8, width: int = 8) -> Tensor:
    drawn = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, channels, height, width), generator=drawn).to(torch.uint8)


# --- crop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [1, 4, 9])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 3), (1, 2)])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_a_reflected_border_is_numpys(padding: int, height: int, width: int, kind: type) -> None:
    pixels = photographs(3, 2, height, width).to(kind)
    sides = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    expected = np.pad(pixels.numpy(), sides, mode="reflect")
    assert np.array_equal(reflected(pixels, padding).numpy(), expected)


@pytest.mark.parametrize("border", ["zeros", "reflect"])
def test_a_crop_is_the_window_that_its_draws_name(border: str) -> None:
    pixels, padding = photographs(200), 3
    torch.manual_seed(1)
    crops = random_crop(pixels, padding, border)
    torch.manual_seed(1)
    shifts = torch.randint(0, 2 * padding + 1, (2, 200))
    mode = {"mode": "constant"} if border == "zeros" else {"mode": "reflect"}
    padded = np.pad(pixels.numpy(), [(0, 0), (0, 0), (3, 3), (3, 3)], **mode)
    for image, crop, (dy, dx) in zip(padded, crops, shifts.T.tolist(), strict=True):
        assert np.array_equal(crop.numpy(), image[:, dy : dy + 8, dx : dx + 8])


def test_augmentation_that_chooses_nothing_more_draws_and_gives_what_it_always_did() -> None:
    torch.manual_seed(2)
    mine = Augment(2, True)(photographs(50))
    after = torch.rand(1)
    torch.manual_seed(2)
    assert torch.equal(mine, random_flip(random_crop(photographs(50), 2)))
    assert torch.equal(after, torch.rand(1))
    assert mine.dtype == torch.uint8


# --- colour ------------------------------------------------------------------------------------

IN_TURN = (
    torchvision_functional.adjust_brightness,
    torchvision_functional.adjust_contrast,
    torchvision_functional.adjust_saturation,
)


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_contrast_and_saturation_change_as_torchvisions_in_any_order(
    channels: int,
) -> None:
    x = photographs(60, channels) / 255
    factors = 0.5 + torch.rand(3, 60, 1, 1, 1)
    orders = torch.rand(60, 3).argsort(dim=1)
    assert len(orders.unique(dim=0)) == 6
    mine = recoloured(x, factors, orders)
    for number, image in enumerate(x):
        for kind in orders[number].tolist():
            image = IN_TURN[kind](image, float(factors[kind, number]))
        # float32: sums over pixels and channels in another order
        torch.testing.assert_close(mine[number], image, rtol=0, atol=2e-6)


def test_jitter_draws_each_factor_and_order_for_each_image_within_its_strength() -> None:
    grey = torch.full((4000, 1, 2, 2), 0.5)  # brightness alone changes it: 0.5 times the factor
    factors = jittered(grey, 0.25)[:, 0, 0, 0] / 0.5
    assert factors.min() >= 0.75
    assert factors.max() <= 1.25
    # uniform: mean 1 and deviation 0.25 / sqrt(3); the mean of 4,000 is within 5 deviations
    assert abs(float(factors.mean()) - 1) < 5 * 0.25 / 3**0.5 / 4000**0.5
    assert abs(float(factors.std()) - 0.25 / 3**0.5) < 0.01
    same = photographs(1).expand(3000, 3, 8, 8) / 255
    torch.manual_seed(3)
    mine = jittered(same, 0.25)
    torch.manual_seed(3)
    drawn = 1 + 0.25 * (2 * torch.rand(3, 3000, 1, 1, 1) - 1)
    orders = torch.rand(3000, 3).argsort(dim=1)
    assert torch.equal(mine, recoloured(same, drawn, orders))
    shares = orders.unique(dim=0, return_counts=True)[1] / 3000
    assert len(shares) == 6
    assert (shares - 1 / 6).abs().max() < 0.04  # 5.9 standard deviations


# --- rotation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (9, 14)])
def test_rotation_takes_the_pixels_that_torchvisions_takes(
    height: int, width: int, channels: int
) -> None:
    x = photographs(40, channels, height, width) / 255
    degrees = 30 * (2 * torch.rand(40) - 1)
    for image, angle, mine in zip(x, degrees, rotated(x, degrees), strict=True):
        theirs = torchvision_functional.rotate(image, float(angle))
        # a source that lies half way between two pixels may be rounded to either
        assert (mine != theirs).float().mean() < 0.01
    assert torch.equal(rotated(x, torch.zeros(40)), x)


def test_rotation_draws_an_angle_for_each_image_up_to_its_degrees() -> None:
    x = photographs(500) / 255
    torch.manual_seed(4)
    mine = random_rotation(x, 20.0)
    torch.manual_seed(4)
    degrees = 20 * (2 * torch.rand(500) - 1)
    assert torch.equal(mine, rotated(x, degrees))
    assert degrees.abs().max() <= 20


# --- policies ----------------------------------------------------------------------------------

POLICIES: dict[str, Callable[[], torch.nn.Module]] = {
    "autoaugment": lambda: v2.AutoAugment(AutoAugmentPolicy.CIFAR10),
    "randaugment": lambda: v2.RandAugment(2, 8),
}


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_is_torchvisions_drawn_for_each_image(policy: str, channels: int) -> None:
    pixels = photographs(30, channels)
    torch.manual_seed(6)
    mine = with_policy(pixels, policy)
    torch.manual_seed(6)
    transform = POLICIES[policy]()
    assert torch.equal(mine, torch.stack([transform(image) for image in pixels]))
    torch.manual_seed(6)
    assert torch.equal(with_policy(pixels / 255, policy), mine / 255)
    same = with_policy(photographs(1, channels).expand(30, channels, 8, 8), policy)
    assert len(same.unique(dim=0)) > 5  # one draw for all would leave one


# --- altogether --------------------------------------------------------------------------------


def test_everything_comes_in_the_authors_order() -> None:
    pixels = photographs(20)
    torch.manual_seed(7)
    mine = Augment(2, True, "reflect", "autoaugment", 0.25, 2.0)(pixels)
    torch.manual_seed(7)
    x = random_flip(random_crop(with_policy(pixels, "autoaugment"), 2, "reflect")) / 255
    assert torch.equal(mine, random_rotation(jittered(x, 0.25), 2.0))
    assert mine.dtype == torch.float32
    assert 0 <= mine.min() <= mine.max() <= 1


@pytest.mark.parametrize("dataset", ["digits", "cifar10", "image_folder", "imagenet"])
def test_every_data_set_has_the_keys_and_its_older_runs_did_none_of_it(dataset: str) -> None:
    words = ["dataset.crop_border=reflect", "dataset.policy=randaugment"]
    words += ["dataset.color_jitter=0.25", "dataset.rotation=2"]
    made = load_config(compose_config([f"dataset={dataset}", *words]))
    found = (made.dataset.crop_border, made.dataset.policy)
    assert found == ("reflect", "randaugment")
    assert (made.dataset.color_jitter, made.dataset.rotation) == (0.25, 2.0)
    plain = load_config(compose_config([f"dataset={dataset}"]))
    older = dump(plain)
    for word in words:
        del older["dataset"][word.partition("=")[0].removeprefix("dataset.")]
    assert load_config(older) == plain


def test_crop_shifts_by_at_most_the_padding_and_finds_every_offset() -> None:
    torch.manual_seed(0)
    image = torch.arange(1, 3 * 5 * 6 + 1, dtype=torch.uint8).view(1, 3, 5, 6)
    padded = torch.nn.functional.pad(image, [2] * 4)[0]
    windows = {(dy, dx): padded[:, dy : dy + 5, dx : dx + 6] for dy in range(5) for dx in range(5)}
    counts = dict.fromkeys(windows, 0)
    for crop in random_crop(image.expand(2000, 3, 5, 6), 2):
        (found,) = [place for place, window in windows.items() if torch.equal(crop, window)]
        counts[found] += 1
    # 2000 crops over 25 places: 80 each, standard deviation 8.8; 40 is 4.5 of them away.
    assert min(counts.values()) > 40
    assert max(counts.values()) < 120


def test_crop_takes_each_image_from_itself() -> None:
    torch.manual_seed(0)
    crops = random_crop(
        torch.arange(1, 101, dtype=torch.uint8).view(100, 1, 1, 1).expand(-1, 2, 4, 4), 1
    )
    for number, crop in enumerate(crops, start=1):
        assert set(crop.unique().tolist()) <= {0, number}
        assert (crop == number).sum() >= 2 * 3 * 3


def test_half_of_the_images_are_mirrored() -> None:
    torch.manual_seed(0)
    image = torch.arange(12.0).view(1, 2, 2, 3)
    flipped = random_flip(image.expand(4000, 2, 2, 3))
    mirrored = (flipped == image.flip(-1)).all(dim=(1, 2, 3))
    same = (flipped == image).all(dim=(1, 2, 3))
    assert (mirrored ^ same).all()
    # Standard deviation of the share: 0.0079.
    assert abs(mirrored.float().mean() - 0.5) < 0.04


def test_augmentation_is_repeated_under_the_same_seed_and_changes_under_another() -> None:
    images = TensorImages(
        torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8),
        torch.zeros(50, dtype=torch.int64),
        Augment(crop_padding=2, flip=True),
    )
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(whole(images))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_plain_images_are_the_stored_ones_and_draw_nothing() -> None:
    images = numbered(9, Augment(crop_padding=1, flip=True)).plain()
    before = torch.get_rng_state()
    assert numbers(images) == list(range(9))
    assert torch.equal(torch.get_rng_state(), before)
