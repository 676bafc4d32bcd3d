"""The tutorial: its cells run as they stand, one after the other, at a small size."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from tests.pages import ROOT

CELLS = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
SMALL = {"EPOCHS = 30": "EPOCHS = 1", "IMAGES = 100": "IMAGES = 8"}


def test_every_cell_of_the_tutorial_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    said = []
    for text in CODE:
        for usual, small in SMALL.items():
            text = text.replace(usual, small)
        exec(text, names)
        said.append(capsys.readouterr().out)
    assert names["EPOCHS"] == 1
    assert names["IMAGES"] == 8
    assert len(names["runs"]) == 2
    assert "largest change of a pixel: 0.1\n" in said
    assert said[-1].count("\n") == 16  # checks of the audit


def test_the_outputs_of_the_tutorial_are_stored_and_hold_no_error() -> None:
    outputs = [output for cell in CELLS for output in cell.get("outputs", [])]
    kinds = {output["output_type"] for output in outputs}
    assert kinds == {"stream", "display_data"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
