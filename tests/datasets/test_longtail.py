"""Long-tailed subsets are the authors' own."""

import numpy as np
import pytest
import torch

from datasets.small_sets import digits
from robustrun.datasets.longtail import long_tailed_counts, long_tailed_indices
from robustrun.errors import ConfigError


def test_long_tailed_counts_are_the_published_ones() -> None:
    cifar10 = [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100]
    assert long_tailed_counts(5000, 10, 0.02) == cifar10
    assert sum(cifar10) == 13_996
    cifar100 = long_tailed_counts(500, 100, 0.1)
    assert (cifar100[0], cifar100[-1], sum(cifar100)) == (500, 50, 19_573)


def test_counts_that_are_whole_numbers_are_not_rounded_down() -> None:
    # 1e-3 ** (1 / 3) is 0.09999999999999998 in floating point.
    assert long_tailed_counts(1000, 4, 1e-3) == [1000, 100, 10, 1]


def test_long_tailed_subset_is_the_authors_at_their_seed() -> None:
    labels = torch.from_numpy(np.random.default_rng(1).permutation(np.repeat(np.arange(10), 50)))
    mine = long_tailed_indices(labels, 10, 0.1, seed=3)
    # Once more by the book, from NumPy's global generator as the authors have it.
    np.random.seed(3)
    theirs: list[int] = []
    for label in range(10):
        indices = np.where(labels.numpy() == label)[0]
        np.random.shuffle(indices)
        theirs += indices[: int(50 * 0.1 ** (label / 9))].tolist()
    assert mine.tolist() == theirs


def test_long_tailed_subset_leaves_the_test_part_and_numpys_global_generator_alone() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    splits = digits(imbalance_ratio=0.1).load()
    assert np.array_equal(np.random.get_state()[1], before)
    assert len(splits.test) == 360
    assert splits.chosen is not None
    assert len(splits.chosen.unique()) == len(splits.train) == len(splits.chosen)
    assert torch.equal(splits.train.labels, digits().load().train.labels[splits.chosen])
    counts = splits.train.labels.bincount().tolist()
    assert counts == long_tailed_counts(143, 10, 0.1)
    assert not torch.equal(
        splits.chosen, digits(imbalance_ratio=0.1, imbalance_seed=1).load().chosen
    )


def test_classes_of_differing_size_keep_at_most_what_they_have() -> None:
    labels = torch.tensor([0] * 2 + [1] * 10)
    assert long_tailed_indices(labels, 2, 0.5, seed=0).sort().values[:2].tolist() == [0, 1]
    assert labels[long_tailed_indices(labels, 2, 0.5, seed=0)].bincount().tolist() == [2, 3]


def test_ratio_that_empties_a_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"imbalance_ratio is 0\.001.* class [0-9]"):
        digits(imbalance_ratio=0.001).load()
