"""Numbered work: which process does what, and what is known already."""

from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.grey_images import CPU, grey
from robustrun.compute import processes
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.shards import batches_of, findings, own
from robustrun.storage.journal import Journal


@pytest.mark.parametrize(
    ("rank", "count", "numbers"), [(0, 1, [3, 4, 5, 6, 7]), (0, 2, [3, 5, 7]), (1, 2, [4, 6])]
)
def test_processes_take_turns(
    rank: int, count: int, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "rank", lambda: rank)
    monkeypatch.setattr(processes, "count", lambda: count)
    assert own([3, 4, 5, 6, 7]) == numbers


def test_what_the_journal_knows_is_not_worked_on_and_the_rest_is_noted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "this")
    journal.note("b", [])  # nothing was found, and that is known
    asked: list[list[int]] = []

    def work(numbers: list[int]) -> Any:
        asked.append(numbers)
        assert processes.speaks()
        for number in reversed(numbers):
            yield number, 10 * number

    keys = ["a", "b", "c"]
    assert findings(keys, work, journal) == [0, [], 20]
    assert asked == [[0, 2]]
    again = Journal(tmp_path / "journal", "this")
    assert [again.recall(key) for key in keys] == [0, [], 20]
    assert findings(keys, work, again) == [0, [], 20]
    assert asked == [[0, 2]], "all is known: nobody is asked"
    assert findings([], work, Journal()) == []


def test_findings_of_all_processes_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "rank", lambda: 1)
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "combined", lambda mine: [[[0, "theirs"], [2, "too"]], mine()])
    work = lambda numbers: ((number, f"mine {number}") for number in numbers)  # noqa: E731
    assert findings(["a", "b", "c"], work, Journal()) == ["theirs", "mine 1", "too"]


@pytest.mark.parametrize(
    ("numbers", "labels"), [([0, 1, 2], [[4, 2], [0, 1], [3]]), ([1], [[0, 1]]), ([], [])]
)
def test_batches_are_those_of_the_order_that_is_tried(
    numbers: list[int], labels: list[list[int]]
) -> None:
    images = TensorImages(grey(0.0, 0.1, 0.2, 0.3, 0.4), torch.arange(5))
    found = list(batches_of(images, torch.tensor([4, 2, 0, 1, 3]), numbers, 2, CPU))
    assert [y.tolist() for _, y in found] == labels
    for x, y in found:
        torch.testing.assert_close(x[:, 0, 0, 0], y / 10, rtol=0, atol=0.5 / 255)
