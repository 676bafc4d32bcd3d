"""Classes, a share of the training images and imbalance, for a data set of any kind."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.small_sets import digits, folder, make_tree, numbered, numbers, whole
from robustrun.datasets import run_data
from robustrun.datasets.longtail import long_tailed_counts
from robustrun.datasets.relabelled import TrainedOn, as_trained
from robustrun.datasets.subset import make_splits, stratified_indices
from robustrun.datasets.watched import Watched
from robustrun.errors import ConfigError
from robustrun.types import Images, Splits

NAMES = ("a", "b", "c")  # the classes of `numbered`, 0 to 2 in turn


def cut(train: Images, names: tuple[str, ...] = NAMES, **asked: Any) -> Splits:
    return make_splits(train, numbered(9), names, digits(**asked))


@pytest.mark.parametrize(
    ("classes", "names", "train", "labels"),
    [
        (("c", "a"), ("c", "a"), [0, 2, 3, 5], [1, 0, 1, 0]),
        ((2, 0), ("c", "a"), [0, 2, 3, 5], [1, 0, 1, 0]),
        (("b", 0), ("b", "a"), [0, 1, 3, 4], [1, 0, 1, 0]),
        (("c", "b", "a"), ("c", "b", "a"), [0, 1, 2, 3, 4, 5], [2, 1, 0, 2, 1, 0]),
    ],
)
def test_classes_are_those_named_in_that_order(
    classes: tuple[str | int, ...], names: tuple[str, ...], train: list[int], labels: list[int]
) -> None:
    splits = cut(numbered(6), classes=classes)
    assert splits.class_names == names
    assert (numbers(splits.train), splits.train.labels.tolist()) == (train, labels)
    assert splits.chosen is not None
    assert splits.chosen.tolist() == train
    table = {"abc".index(name): place for place, name in enumerate(names)}
    assert numbers(splits.test) == [number for number in range(9) if number % 3 in table]
    assert splits.test.labels.tolist() == [table[n % 3] for n in range(9) if n % 3 in table]
    assert set(splits.left_out) == set("abc") - set(names)


def test_a_number_is_the_class_that_is_called_so_before_it_is_a_place() -> None:
    names = ("1", "10", "2")
    assert cut(numbered(6), names, classes=(2, 10)).class_names == ("2", "10")
    with pytest.raises(ConfigError, match="names class '1' twice"):
        cut(numbered(6), names, classes=("1", 0))


def test_classes_that_are_numbers_out_of_order_are_told_with_the_words_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    cut(numbered(6), ("1", "10", "2"))
    assert "in the order of texts: 1, 10, 2. For a network" in caplog.text
    assert caplog.text.rstrip().endswith("dataset.classes=[1,2,10]")
    caplog.clear()
    assert cut(numbered(6), ("1", "10", "2"), classes=(1, 2, 10)).class_names == ("1", "2", "10")
    for names in (("1", "2", "10"), ("2", "10", "1"), ("01", "10", "2"), ("1", "10", "a")):
        cut(numbered(6), names)  # by value, as somebody ordered them, and no plain numbers
    assert not caplog.text


def test_all_classes_in_their_order_change_nothing() -> None:
    splits = cut(numbered(6), classes=NAMES)
    assert splits.chosen is None
    assert splits.left_out == ()


def test_a_class_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.classes names 'kat'.*Did you mean 'cat'"):
        cut(numbered(6), ("cat", "dog", "cow"), classes=("kat", "dog"))
    with pytest.raises(ConfigError, match=r"names 3, but.*Known: a, b, c"):
        cut(numbered(6), classes=(3, "a"))


def test_a_share_is_of_each_class_and_a_smaller_one_is_inside_a_larger_one() -> None:
    labels = torch.tensor([0] * 40 + [1] * 10 + [2])
    tenth, half = (stratified_indices(labels, 3, share, seed=5) for share in (0.1, 0.5))
    assert labels[tenth].bincount().tolist() == [4, 1, 1]
    assert labels[half].bincount().tolist() == [20, 5, 1]
    assert set(tenth.tolist()) < set(half.tolist())
    assert tenth.tolist() == sorted(tenth.tolist())
    assert not torch.equal(half, stratified_indices(labels, 3, 0.5, seed=6))


def test_classes_come_before_the_share_and_that_before_the_imbalance() -> None:
    asked = {"classes": (7, 1, 3), "fraction": 0.5, "imbalance_ratio": 0.25}
    splits, official = digits(**asked).load(), digits().load()
    seven, one, three = (int((official.train.labels == n).sum()) for n in (7, 1, 3))
    halves = [round(count / 2) for count in (seven, one, three)]
    expected = long_tailed_counts(sum(halves) // 3, 3, 0.25)
    assert splits.train.labels.bincount().tolist() == expected
    assert splits.chosen is not None
    assert torch.equal(whole(splits.train), whole(official.train)[splits.chosen])
    names = torch.tensor([7, 1, 3])
    assert torch.equal(names[splits.train.labels], official.train.labels[splits.chosen])
    assert len(splits.test) == int(torch.isin(official.test.labels, names).sum())


def test_files_are_cut_without_being_read_and_keep_their_new_labels(tmp_path: Path) -> None:
    make_tree(tmp_path)
    splits = folder(tmp_path, classes=("bee", "ant"), fraction=0.5).load()
    assert splits.class_names == ("bee", "ant")
    assert splits.train.labels.bincount().tolist() == [2, 2]  # of 5 and of 3
    assert "in_memory" not in vars(splits.train)
    assert [y.tolist() for _, y in splits.test.batches(4)] == [[1, 1, 0, 0]]
    streamed = folder(tmp_path, classes=("bee", "ant"), memory_limit_gb=0.0).load()
    assert [y.tolist() for _, y in streamed.test.batches(4)] == [[1, 1, 0, 0]]


def test_images_of_a_foreign_class_are_relabelled_too() -> None:
    foreign = Watched(numbered(6), "mine", numbered(6).labels)
    splits = cut(foreign, classes=("c", "a"))
    assert [y.tolist() for _, y in splits.train.batches(4)] == [[1, 0, 1, 0]]


def test_fingerprints_follow_what_is_used() -> None:
    def prints(**asked: Any) -> str:
        every = lambda test: (test, np.arange(len(test)))  # noqa: E731
        return str(run_data.load(digits(**asked), 0.1, 0, every).fingerprints)

    asked: list[dict[str, Any]] = [
        {},
        {"fraction": 0.5},
        {"fraction": 0.5, "fraction_seed": 1},
        {"classes": (3, 5)},
        {"classes": (5, 3)},
    ]
    assert len({prints(**one) for one in asked}) == len(asked)
    assert prints(classes=(3, 5)) == prints(classes=("3", "5"))


def test_a_network_of_all_classes_is_measured_on_some_by_their_names() -> None:
    trained = TrainedOn(tuple("0123456789"), (1, 8, 8))
    splits = as_trained(digits(classes=(7, 1)).load(), trained, "outputs/run")
    assert set(splits.test.labels.tolist()) == {7, 1}
    assert splits.class_names == trained.class_names


def test_how_many_images_a_share_is_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        digits(fraction=0.1).load()
    assert "dataset.fraction: 142 of 1437 training images" in caplog.text
