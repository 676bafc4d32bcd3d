"""What trackers are sent of a run."""

from pathlib import Path
from typing import Any

import pytest

from robustrun.errors import ConfigError
from robustrun.trackers import contents
from trackers.tracked_run import RESULTS


@pytest.mark.parametrize(
    ("row", "numbers"),
    [
        ({"epoch": 3, "lr": 0.1, "train_loss": 2}, {"epoch/lr": 0.1, "epoch/train_loss": 2.0}),
        ({"epoch": 3, "train_accuracy": None, "note": "text"}, {}),
        ({"epoch": 3, "step": 0}, {"epoch/step": 0.0}),
    ],
)
def test_of_an_epoch_its_numbers_are_sent(row: dict[str, Any], numbers: dict[str, float]) -> None:
    assert contents.numbers(row) == numbers


def test_of_a_finished_run_every_accuracy_is_sent_and_its_seconds() -> None:
    expected = {"final/seconds": 2.5, "final/clean": 0.75, "final/worst_case": 0.75}
    assert contents.final(RESULTS) == expected | {"final/pgd": 0.75}


@pytest.mark.parametrize("evaluation", [{}, {"evaluation": None}])
def test_of_a_run_that_was_not_measured_only_its_seconds(evaluation: dict[str, Any]) -> None:
    assert contents.final({"run": {"seconds": 3}} | evaluation) == {"final/seconds": 3.0}


def test_files_that_a_run_has_not_are_left_out(folder: Path) -> None:
    assert contents.pictures(folder) == [folder / "figures" / "training.png"]
    (folder / "figures" / "training.svg").touch()
    assert contents.pictures(folder) == [folder / "figures" / "training.png"]
    names = ["model.safetensors", "MODEL_CARD.md", "results.json"]
    assert contents.model(folder) == [folder / name for name in names]
    (folder / "MODEL_CARD.md").unlink()
    assert contents.model(folder) == [folder / "model.safetensors", folder / "results.json"]


def test_a_package_that_is_missing_is_named_with_what_brings_it() -> None:
    assert contents.package("json", "x").dumps(1) == "1"
    with pytest.raises(ConfigError, match=r"tracker=x needs .* pip install 'robustrun\[x\]'"):
        contents.package("no_such_package", "x")
