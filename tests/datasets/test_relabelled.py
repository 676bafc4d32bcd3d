"""A data set in the words of a network that was trained on another: classes matched by name."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

from datasets.small_sets import numbered, numbers
from robustrun.datasets.relabelled import Relabelled, TrainedOn, as_trained
from robustrun.errors import DataError
from robustrun.types import Splits

NAMES = ("a", "b", "c")  # the classes of `numbered`, 0 to 2 in turn


def seen_by(*classes: str, shape: tuple[int, int, int] = (1, 2, 2), names: Any = NAMES) -> Splits:
    trained = TrainedOn.of({"class_names": list(classes), "input_shape": list(shape)})
    return as_trained(Splits(numbered(6), numbered(5), names), trained, "outputs/run")


def labels(images: Any) -> list[int]:
    return torch.cat([y for _, y in images.batches(2)]).tolist()


@pytest.mark.parametrize(
    ("classes", "table"),
    [
        (("a", "b", "c"), [0, 1, 2]),
        (("c", "a", "b"), [1, 2, 0]),
        (("x", "c", "y", "b", "a"), [4, 3, 1]),
    ],
)
def test_a_label_is_the_networks_place_of_the_same_name(
    classes: tuple[str, ...], table: list[int]
) -> None:
    splits = seen_by(*classes)
    assert splits.class_names == classes
    for images, count in ((splits.train, 6), (splits.test, 5)):
        expected = [table[number % 3] for number in range(count)]
        assert images.labels.tolist() == labels(images) == expected
        assert numbers(images) == list(range(count)), "the pixels stay"


def test_of_equal_classes_nothing_is_changed() -> None:
    splits = seen_by(*NAMES)
    assert not isinstance(splits.test, Relabelled)
    assert splits.class_table is None


def test_parts_of_the_images_keep_their_labels() -> None:
    images = seen_by("c", "a", "b").test
    for part in (images.plain(), images.to(torch.device("cpu"))):
        assert part.labels.tolist() == [1, 2, 0, 1, 2]
    some = images.subset(torch.tensor([4, 2]))
    assert (some.labels.tolist(), numbers(some), len(some)) == ([2, 0], [4, 2], 2)
    assert some.shape == (1, 2, 2)
    assert images.fingerprint() == numbered(5).fingerprint()
    order = torch.tensor([3, 0, 4])
    assert [y.tolist() for _, y in images.batches(2, order)] == [[1, 1], [2]]
    assert [y.tolist() for _, y in images.batches(2, order, skip=1)] == [[2]]


@pytest.mark.parametrize(
    ("classes", "names", "said"),
    [
        (("a", "b"), NAMES, "was trained on classes 'a', 'b'.*does not know class 'c'"),
        (("a",), NAMES, "trained on class 'a',.*does not know classes 'b', 'c'"),
        (tuple("abcdefghijk"), ("z",), "'h' and 3 more.*does not know class 'z'"),
        (("a", "b", "c"), ("a", "b", "a"), "Two classes of this data set have the same name"),
        (("a", "b", "a", "c"), NAMES, "Two classes of the network of outputs/run have the same"),
    ],
)
def test_classes_that_cannot_be_matched_are_refused_by_name(
    classes: tuple[str, ...], names: tuple[str, ...], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        seen_by(*classes, names=names)


def test_images_with_other_channels_are_refused() -> None:
    with pytest.raises(DataError, match="takes images with 3 channels, but this data set's have 1"):
        seen_by(*NAMES, shape=(3, 2, 2))


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("a", "b", "c"), ""),
        (("c", "b", "a"), "in another order: matched by name"),
        (
            ("c", "b", "a", "d"),
            "of the network's 4 classes, 3 are measured; the data set has no",
        ),
    ],
)
def test_what_is_matched_and_what_is_missing_is_said(
    classes: tuple[str, ...], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        seen_by(*classes)
    assert (said in caplog.text) if said else (caplog.text == "")


def test_a_test_part_that_is_cut_otherwise_than_in_training_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cut, other = (f"held out: {share} of each class" for share in (0.2, 0.5))
    images = Splits(numbered(6), numbered(5), NAMES, test_from=cut)
    for before in (cut, None, "val/"):
        as_trained(images, TrainedOn(NAMES, (1, 2, 2), before), "outputs/run")
    assert caplog.text == ""
    as_trained(images, TrainedOn(NAMES, (1, 2, 2), other), "outputs/run")
    assert f"{cut}; those of outputs/run were {other}. If they are of the same data" in caplog.text


def test_a_test_part_that_is_cut_alike_from_other_images_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cut = "held out: 0.2 of each class"
    own, others = numbered(5), numbered(6)
    trained = TrainedOn(NAMES, (1, 2, 2), cut, own.fingerprint())
    fewer = Splits(numbered(6), others, NAMES[:2], test_from=cut, left_out=NAMES[2:])
    large = replace(trained, shape=(1, 4, 4))  # images of another size are others in any case
    unknown = replace(trained, test_fingerprint=None)  # of a run from before fingerprints
    as_trained(Splits(numbered(6), own, NAMES, test_from=cut), trained, "outputs/run")
    as_trained(Splits(numbered(6), others, NAMES), trained, "outputs/run")
    as_trained(fewer, trained, "outputs/run")
    for other in (large, unknown):
        as_trained(Splits(numbered(6), others, NAMES, test_from=cut), other, "outputs/run")
    assert "added" not in caplog.text
    as_trained(Splits(numbered(6), others, NAMES, test_from=cut), trained, "outputs/run")
    assert f"{cut}, and are others than those that were held out for outputs/run" in caplog.text
