"""Pairs of a picture and its label as arrays."""

import logging

import numpy as np
import pytest
from PIL import Image

from robustrun.datasets import decoded_items
from robustrun.datasets.decoded_items import arrays_of, decoded
from robustrun.errors import DataError

LEVELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
PAIRS = [(Image.fromarray(levels), label) for label, levels in enumerate(LEVELS)]


def test_pictures_are_decoded_in_order(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(decoded_items, "LOG_EVERY", 2)
    images, labels = arrays_of(PAIRS, None)
    assert np.array_equal(images, LEVELS)
    assert labels.tolist() == [0, 1, 2, 3]
    assert "decoded 2 of 4 images" in caplog.text


def test_pictures_are_scaled_by_the_shorter_side_and_cropped_in_the_centre() -> None:
    images, _ = arrays_of(PAIRS, 5)
    assert images.shape == (4, 5, 5, 3)
    assert set(images[0].reshape(-1).tolist()) <= set(LEVELS[0].reshape(-1).tolist())


def test_all_are_grey_or_in_colour_as_the_first_is() -> None:
    grey = PAIRS[0][0].convert("L")
    assert decoded([(grey, 0), PAIRS[1]], None)[0].shape == (2, 6, 5, 1)
    mixed = decoded([PAIRS[1], (grey, 0)], None)[0]
    assert mixed.shape == (2, 6, 5, 3)
    assert np.array_equal(mixed[1], np.array(grey)[..., None].repeat(3, axis=2))


def test_another_size_is_refused_with_the_place() -> None:
    with pytest.raises(DataError, match=r"Image 1 is 3 x 6 pixels, but the first is 5 x 6"):
        decoded([PAIRS[0], (PAIRS[1][0].crop((0, 0, 3, 6)), 1)], None)


def test_of_no_picture_there_is_no_array() -> None:
    images, labels = decoded([], None)
    assert (len(images), len(labels)) == (0, 0)
