"""A test part that is cut from images in one piece."""

from typing import NamedTuple

import pytest
import torch

from robustrun.datasets.holdout import check_holdout, hold_out
from robustrun.errors import ConfigError, DataError

LABELS = torch.tensor([0, 1] * 5 + [0] * 10)  # 15 and 5


class Cut(NamedTuple):
    test_fraction: float = 0.2
    test_seed: int = 0


def test_each_class_gives_its_share_and_no_image_is_on_both_sides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    part = hold_out(LABELS, ("a", "b"), Cut(), "images")
    assert LABELS[part.test].bincount().tolist() == [3, 1]
    assert sorted([*part.train.tolist(), *part.test.tolist()]) == list(range(20))
    assert part.train.tolist() == sorted(part.train.tolist())
    assert "images has no test part: 4 of 20 images are held out" in caplog.text
    assert "0.2 of each class (dataset.test_fraction), dataset.test_seed 0" in part.told


def test_the_seed_decides_which_and_a_run_does_not() -> None:
    torch.manual_seed(0)
    first = hold_out(LABELS, ("a", "b"), Cut(), "images").test
    torch.manual_seed(1)
    assert torch.equal(first, hold_out(LABELS, ("a", "b"), Cut(), "images").test)
    assert not torch.equal(first, hold_out(LABELS, ("a", "b"), Cut(test_seed=1), "images").test)


def test_what_would_leave_a_class_empty_is_refused_by_its_name() -> None:
    with pytest.raises(DataError, match="class 'b' has one image"):
        hold_out(torch.tensor([0, 0, 1]), ("a", "b"), Cut(), "images")
    with pytest.raises(
        ConfigError, match=r"test_fraction is 0\.95.*no training image of class 'b'"
    ):
        hold_out(LABELS, ("a", "b"), Cut(0.95), "images")


def test_a_class_that_is_noted_and_has_no_image_is_no_hindrance() -> None:
    part = hold_out(LABELS, ("a", "b", "c"), Cut(), "images")
    assert LABELS[part.test].bincount().tolist() == [3, 1]


@pytest.mark.parametrize("wrong", [Cut(0.0), Cut(1.0), Cut(test_seed=-1)])
def test_settings_out_of_range_are_refused(wrong: Cut) -> None:
    with pytest.raises(ConfigError, match=r"^test_(fraction|seed) is"):
        check_holdout(wrong)
