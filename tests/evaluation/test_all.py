"""What all measurements promise."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from evaluation.grey_images import CPU, grey, linear, pgd
from robustrun import console
from robustrun.attacks.fmn import FMN
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.curve import AccuracyCurve
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.setting import Setting
from robustrun.storage.journal import Journal
from tests.frozen import changeable


def test_what_is_to_be_measured_and_what_was_found_cannot_be_changed() -> None:
    assert changeable("robustrun.evaluation", least=15) == ["_Run"]  # what stages hand on


@dataclasses.dataclass
class Bar:
    """Counts instead of drawing."""

    title: str
    total: int
    done: int

    def __post_init__(self) -> None:
        self.begun = self.done
        self.notes: list[str] = []

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        self.notes.append(note)
        assert self.done <= self.total


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """The bars that were drawn."""
    drawn: list[Bar] = []

    @contextmanager
    def bar(title: str, total: int, done: int = 0, images: int = 0) -> Iterator[Bar]:
        assert done >= 0
        drawn.append(Bar(title, total, done))
        yield drawn[-1]

    monkeypatch.setattr(console, "bar", bar)
    return drawn


def test_progress_ends_at_its_total_and_begins_where_an_evaluation_was_interrupted(
    bars: list[Bar], tmp_path: Path
) -> None:
    fmn = FMN("linf", 0.1, 3, 0.2, 0.01, 0.05, 0.001)
    images = TensorImages(
        grey(0.1, 0.3, 0.45, 0.7, 0.9, 0.2), torch.tensor([0, 0, 0, 1, 1, 1])
    )  # the last one is wrong
    entries = [*accuracies({"pgd": pgd(), "fmn": fmn}), AccuracyCurve("fmn", fmn, (2.0,))]
    setting = Setting(0, 3, CPU, journal=Journal(tmp_path / "journal", "this"))
    found = measure(linear(), images, 2, entries, setting)
    assert 0 <= found.seconds < 60
    noted = setting.journal.findings
    assert all(0 <= noted[f"pgd batch {number}"]["seconds"] < 60 for number in (0, 1))
    assert [(bar.title, bar.total) for bar in bars] == [
        ("predictions", 6),
        ("attack pgd", 5),
        ("attack fmn", 5),
        ("distances by fmn", 2),
    ]
    assert all(bar.done == bar.total for bar in bars)
    assert bars[1].notes == [
        "66.7% stand",
        "80.0% stand",
    ]  # 0.45 falls; 0.1, 0.3, 0.7 and 0.9 do not
    whole = (tmp_path / "journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal").write_bytes(b"".join(whole[:2]))  # stopped after a batch of PGD
    bars.clear()
    again = Setting(0, 3, CPU, journal=Journal(tmp_path / "journal", "this"))
    measure(linear(), images, 2, entries[:2], again)
    assert [(bar.title, bar.done, bar.total) for bar in bars[1:]] == [("attack pgd", 5, 5)]
    assert bars[1].begun == 3
