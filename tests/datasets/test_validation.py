"""The validation split is cut from the training split and nothing else."""

import pytest
import torch

from datasets.small_sets import digits, numbered, numbers, splits_of
from robustrun.datasets.augmentation import Augment
from robustrun.datasets.subset import make_splits
from robustrun.datasets.tensors import TensorImages
from robustrun.datasets.validation import cut_validation
from robustrun.errors import ConfigError


@pytest.mark.parametrize("validation_from", ["random", "tail"])
def test_training_and_validation_are_disjoint_and_complete(validation_from: str) -> None:
    splits = splits_of(numbered(50), validation_from=validation_from)
    train, validation = cut_validation(splits, 0.1, seed=0)
    assert validation is not None
    assert len(validation) == 5
    assert sorted(numbers(train) + numbers(validation)) == list(range(50))


def test_random_validation_depends_on_its_seed_alone() -> None:
    splits = splits_of(numbered(50))
    cuts = []
    for state, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        validation = cut_validation(splits, 0.1, seed)[1]
        assert validation is not None
        assert torch.equal(torch.get_rng_state(), before)
        cuts.append(numbers(validation))
    assert cuts[0] == cuts[1] != cuts[2]


def test_tail_is_the_tail_of_the_files_also_in_a_long_tailed_subset() -> None:
    whole_tail = cut_validation(splits_of(numbered(50), validation_from="tail"), 0.1, seed=0)[1]
    assert whole_tail is not None
    assert numbers(whole_tail) == [45, 46, 47, 48, 49]
    full = numbered(60)
    splits = make_splits(full, full, ("a", "b", "c"), digits(imbalance_ratio=0.5), "tail")
    train, tail = cut_validation(splits, 0.3, seed=0)
    assert tail is not None
    assert splits.chosen is not None
    last = splits.chosen.sort().values[-len(tail) :]
    assert sorted(numbers(tail)) == last.tolist()
    assert max(numbers(train)) < min(numbers(tail))
    assert len(tail.labels.unique()) > 1


def test_validation_is_not_augmented_and_training_is() -> None:
    splits = splits_of(numbered(50, Augment(crop_padding=1, flip=True)))
    train, validation = cut_validation(splits, 0.5, seed=0)
    assert isinstance(train, TensorImages)
    assert isinstance(validation, TensorImages)
    assert validation.augment is None
    assert train.augment == Augment(crop_padding=1, flip=True)
    assert digits().load().test.augment is None  # type: ignore[attr-defined]


def test_fraction_zero_gives_none_and_a_tiny_one_gives_one_image() -> None:
    splits = splits_of(numbered(10))
    train, validation = cut_validation(splits, 0.0, seed=0)
    assert validation is None
    assert train is splits.train
    train, validation = cut_validation(splits, 1e-6, seed=0)
    assert validation is not None
    assert (len(train), len(validation)) == (9, 1)


def test_fraction_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ConfigError, match="validation_fraction"):
        cut_validation(splits_of(numbered(4)), 0.99, seed=0)
