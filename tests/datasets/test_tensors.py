"""Images in memory: batches, parts and fingerprints."""

import dataclasses

import torch

from datasets.small_sets import digits, numbered, numbers, whole
from robustrun.datasets.augmentation import Augment


def test_batches_come_in_the_given_order_with_their_labels() -> None:
    images = numbered(10)
    order = torch.tensor([9, 0, 4, 7, 1])
    batches = list(images.batches(2, order))
    assert [len(x) for x, _ in batches] == [2, 2, 1]
    assert [
        round(v) for v in (whole(images, 2, order)[:, 0, 0, 0] * 255).tolist()
    ] == order.tolist()
    assert torch.cat([y for _, y in batches]).tolist() == (order % 3).tolist()


def test_subset_and_order_compose() -> None:
    assert numbers(numbered(10).subset(torch.tensor([8, 2, 5])).subset(torch.tensor([2, 0]))) == [
        5,
        8,
    ]


def test_changing_a_batch_does_not_change_the_data() -> None:
    splits = digits().load()
    before = splits.test.fingerprint()
    for x, _ in splits.test.batches(100):
        x.zero_()
    assert splits.test.fingerprint() == before


def test_fingerprint_depends_on_pixels_labels_and_shape_alone() -> None:
    images = numbered(6)
    same = dataclasses.replace(images, pixels=images.pixels.clone(), augment=Augment(1, True))
    assert images.fingerprint() == same.fingerprint()
    changed = images.pixels.clone()
    changed[5, 0, 1, 1] += 1
    others = [
        dataclasses.replace(images, pixels=changed),
        dataclasses.replace(images, labels=images.labels.flip(0)),
        dataclasses.replace(images, pixels=images.pixels.view(6, 2, 2, 1)),
        images.subset(torch.arange(5)),
    ]
    assert len({i.fingerprint() for i in [images, *others]}) == 5
