"""Images that are read from disk while they are used."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from datasets.small_sets import folder, forks, imagenet, make_tree, save, whole
from robustrun.compute import processes
from robustrun.compute.batch_parts import cut
from robustrun.datasets import files
from robustrun.datasets.files import FileImages, worker_count
from robustrun.datasets.tensors import TensorImages


@forks
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("image_size", [None, 8])
def test_folder_read_lazily_gives_the_same_batches_as_from_memory(
    tmp_path: Path, workers: int, image_size: int | None
) -> None:
    make_tree(tmp_path, size=(12, 10) if image_size else (10, 10))
    how: dict[str, Any] = {"image_size": image_size, "crop_padding": 2, "flip": True}
    how |= {"crop_border": "reflect", "policy": "randaugment", "color_jitter": 0.2, "rotation": 5.0}
    kept = folder(tmp_path, **how, workers=workers).load()
    lazy = folder(tmp_path, **how, workers=workers, memory_limit_gb=0.0).load()
    assert isinstance(kept.train.to(torch.device("cpu")), TensorImages)
    assert isinstance(lazy.train.to(torch.device("cpu")), FileImages)
    order = torch.tensor([7, 0, 3, 3, 5])
    for split in ("train", "test"):
        batches = []
        for splits in (kept, lazy):
            torch.manual_seed(0)
            batches.append(list(getattr(splits, split).batches(2, order % 4)))
        for (x, y), (u, v) in zip(*batches, strict=True):
            assert torch.equal(x, u)
            assert torch.equal(y, v)


def test_files_subset_plain_and_fingerprint_follow_the_files(tmp_path: Path) -> None:
    lazy = folder(make_tree(tmp_path), memory_limit_gb=0.0, crop_padding=2).load().train
    kept = folder(tmp_path).load().train
    some = torch.tensor([6, 1])
    assert torch.equal(whole(lazy.subset(some).plain()), whole(kept.subset(some)))
    assert lazy.subset(some).labels.tolist() == [1, 0]
    before = lazy.fingerprint()
    assert before == lazy.plain().fingerprint()
    assert before != lazy.subset(some).fingerprint()
    save(tmp_path / "train" / "ant" / "0.png", seed=0, size=(10, 11))
    assert before != lazy.fingerprint()


def test_a_worker_that_is_started_from_nothing_reads_the_same(tmp_path: Path) -> None:
    """Windows and macOS do not fork: what a worker needs is pickled for it."""
    train = folder(make_tree(tmp_path), memory_limit_gb=0.0).load().train
    there = pickle.loads(pickle.dumps(train))
    assert torch.equal(whole(there), whole(train))
    assert there.fingerprint() == train.fingerprint()


def test_no_images_at_all_are_no_batches(tmp_path: Path) -> None:
    train = folder(make_tree(tmp_path), memory_limit_gb=0.0).load().train
    none = torch.zeros(0, dtype=torch.long)
    assert list(train.batches(3, none)) == []
    assert list(train.subset(none).batches(3)) == []


@pytest.mark.parametrize("kind", ["folder", "imagenet"])
def test_an_epoch_goes_on_in_its_middle_with_the_images_it_would_have_had(
    tmp_path: Path, kind: str
) -> None:
    root = make_tree(tmp_path, test="val" if kind == "imagenet" else "test", size=(20, 15))
    load = imagenet if kind == "imagenet" else folder
    train = load(root).load().train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(1))
    every = [x for x, _ in train.batches(3, order)]
    for skip in (1, 2):
        torch.manual_seed(0)
        rest = [x for x, _ in train.batches(3, order, skip=skip)]
        torch.testing.assert_close(torch.cat(rest), torch.cat(every[skip:]), rtol=0, atol=0)


def test_processes_are_started_where_they_pay_and_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "free_cores", lambda: 4)
    few, many = [torch.arange(25)] * 2, [torch.arange(25)] * 1000
    assert worker_count(None, few) == 0
    assert worker_count(None, many) == 4
    assert worker_count(None, [torch.arange(25_000)]) == 1  # a batch is one process's
    assert (worker_count(2, few), worker_count(5, few), worker_count(0, many)) == (2, 2, 0)
    monkeypatch.setattr(files, "free_cores", lambda: 64)
    assert worker_count(None, many) == files.MOST_WORKERS


@forks
@pytest.mark.parametrize("workers", [0, 2])
def test_each_of_several_processes_reads_its_part_of_what_one_reads(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path, test="val")
    images = imagenet(tmp_path, flip=True, color_jitter=0.2, workers=workers).load().train
    order = torch.tensor([7, 0, 3, 3, 5, 1, 2, 6])

    def batches(rank: int, count: int) -> list[torch.Tensor]:
        monkeypatch.setattr(processes, "_group", processes._Group(rank, count))
        torch.manual_seed(1)
        return [torch.cat([x.flatten(1), y[:, None]], 1) for x, y in cut(images.batches(4, order))]

    one, parts = batches(0, 1), [batches(rank, 3) for rank in range(3)]
    assert [len(batch) for batch in one] == [4, 4]
    assert all(
        torch.equal(torch.cat(part), batch) for *part, batch in zip(*parts, one, strict=True)
    )
