"""Images in memory: batches, parts and fingerprints."""

import dataclasses
import logging

import pytest
import torch

from datasets.small_sets import digits, numbered, numbers, whole
from robustrun.datasets import tensors
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


@pytest.mark.parametrize(("free", "stays"), [(10**9, False), (2 * 10 * 4, False), (79, True)])
def test_pixels_that_would_fill_a_gpu_stay_in_main_memory(
    free: int, stays: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    images = numbered(10)
    assert images.pixels.nbytes == 40
    monkeypatch.setattr(tensors, "_free", lambda device: free)
    moved: list[torch.device] = []

    class Pixels(torch.Tensor):
        def to(self, device: torch.device) -> torch.Tensor:  # type: ignore[override]
            moved.append(device)
            return torch.Tensor(self)

    images = dataclasses.replace(images, pixels=images.pixels.as_subclass(Pixels))
    there = images.to(torch.device("cuda"))
    assert (there is images) == stays
    assert len(moved) == (not stays)
    assert ("stay in main memory" in caplog.text) == stays


@pytest.mark.device
def test_batches_of_pixels_that_stay_are_copied_to_the_device(device: torch.device) -> None:
    images, order = numbered(10), torch.tensor([3, 1, 7])
    for x, y in images.batches(2, order, device):
        assert x.device.type == y.device.type == device.type
    pixels = torch.cat([x for x, _ in images.batches(2, order, device)])
    assert (pixels.cpu() * 255).round().flatten(1)[:, 0].tolist() == order.tolist()
