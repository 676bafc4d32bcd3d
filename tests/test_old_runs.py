"""Folders that earlier versions left: read, reported, measured again and gone on with.

`old_runs/` was made by version 0.1.0 at commit 2a5d4aa, with networks of a few channels:
`completed`: pgd_at on the digits, 6 epochs, APGD; `interrupted`: pgd_at, stopped by SIGTERM.
`swept` was made at commit 227654a, when AWP was a method around another: at_awp with two sizes of
the perturbation, of which the second run is missing.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from robustrun.command_line.main import run_command_line
from robustrun.report import collect, summary
from robustrun.run_folder.load import load_run

OLD = Path(__file__).with_name("old_runs")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "old"


def test_a_report_has_the_names_and_numbers_of_then(old: Path) -> None:
    row = summary.row(collect.read(old / "completed"), ["method.name", "attack.epsilon"])
    assert row["method.name"] == "pgd_at"
    assert (row["clean"], row["apgd"], row["attack.epsilon"]) == (13 / 40, 9 / 40, 0.1)
    assert run_command_line(["report", str(old / "completed")]) == 0


def test_a_network_is_measured_again_to_the_same_numbers(old: Path) -> None:
    _, network = load_run(old / "completed")
    assert sum(p.numel() for p in network.parameters()) > 0
    words = ["evaluation.examples=null", "keep.figures=false"]
    assert run_command_line(["evaluate", str(old / "completed"), *words]) == 0
    folder = max(Path("outputs").glob("*/*"))
    then = _predictions(old / "completed")
    now = _predictions(folder)
    shared = now.keys() & then.keys()  # 40 of the 360 images then, all of them now
    assert len(shared) == 40
    assert {at: now[at] for at in shared} == {at: then[at] for at in shared}


def test_an_interrupted_training_goes_on(old: Path) -> None:
    folder = old / "interrupted"
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert 1 < len(rows) < 31  # a header, and an epoch each
    assert run_command_line(["resume", str(folder)]) == 0
    results = json.loads((folder / "results.json").read_text())
    assert (results["run"]["status"], results["training"]["epochs"]) == ("completed", 30)
    after = (folder / "metrics.csv").read_text().splitlines()
    assert after[: len(rows)] == rows


def test_a_run_whose_words_have_former_keys_is_measured_again_and_repeated(old: Path) -> None:
    run = old / "swept" / "0"
    assert run_command_line(["evaluate", str(run), "attack.steps=1", "keep.figures=false"]) == 0
    measured = max(Path("outputs").glob("*/*"))
    then, now = (collect.read(folder).record for folder in (run, measured))
    assert then is not None
    assert now is not None
    assert then.evaluation is not None
    assert now.evaluation is not None
    assert now.evaluation.clean.correct == then.evaluation.clean.correct
    words = ["--config-path", str(run), "attack.steps=2", "hydra.run.dir=repeated"]
    assert run_command_line(words) == 0
    keys = {"training.weight_perturbation": 0.02, "training.warmup": 0.1, "method.inner.steps": 2}
    for folder in (run, Path("repeated")):
        settings = collect.read(folder).settings
        assert {key: settings[key] for key in keys} == keys
        assert (settings["method.name"], "method.gamma" in settings) == ("at_awp", False)


def test_a_sweep_over_a_former_key_is_completed(old: Path) -> None:
    assert run_command_line(["resume", str(old / "swept")]) == 0
    runs = collect.find_runs([old / "swept"])
    assert [run.settings["training.weight_perturbation"] for run in runs] == [0.02, 0.03]
    assert {run.record.run.status for run in runs if run.record} == {"completed"}


def _predictions(folder: Path) -> dict[int, tuple[int, int]]:
    """Label and clean prediction by an image's place in the test set."""
    with np.load(folder / "predictions.npz") as stored:
        columns = [stored[name].tolist() for name in ("index", "label", "prediction")]
    return {at: (label, predicted) for at, label, predicted in zip(*columns, strict=True)}
