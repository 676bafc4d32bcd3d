"""A sweep is told by the folders of its runs, whichever process did them."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from robustrun.command_line import sweep
from robustrun.command_line.sweep import CURRENT, InDriver, Session, close_sweep
from robustrun.run_folder import provenance

SMALL = ("model=simple_cnn", "method=standard", "training.epochs=1", "evaluation=none")


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "robustrun", *words]
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(line, cwd=folder, env=threads, capture_output=True, text=True)


def a_run(folder: Path, *words: str, status: str | None = None, error: str = "") -> None:
    """The folder of a run as a worker leaves it; without a status, of one that was killed."""
    claimed = provenance.claim(folder, provenance.new(command="robustrun -m", swept=list(words)))
    if status is not None:
        about = {"id": folder.name, "status": status, "error": error or None, "seconds": 1.0}
        results = {"schema_version": 1, "run": about, "config": {}}
        (claimed / "results.json").write_text(json.dumps(results))


def test_a_sweep_in_other_processes_is_told_from_its_folders(tmp_path: Path) -> None:
    words = ("-m", "hydra/launcher=joblib", *SMALL, "attack.epsilon=0.1,7", "hydra.sweep.dir=all")
    done = command(tmp_path, *words)
    assert done.returncode == 1
    assert "1 of 2 runs of this sweep failed" in done.stderr
    assert "all/1" in done.stderr
    with (tmp_path / "all" / "summary.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert [(rows[n]["status"], rows[n]["attack.epsilon"]) for n in "01"] == [
        ("completed", "0.1"),
        ("failed", "7"),
    ]
    assert (tmp_path / "all" / "report.html").is_file()
    about = json.loads((tmp_path / "all" / "sweep.json").read_text())
    assert about["arguments"] == list(words)
    assert about["command"].startswith("robustrun -m hydra/launcher=joblib")
    origin = json.loads((tmp_path / "all" / "0" / "checkpoint" / "origin.json").read_text())
    assert origin["command"] == about["command"]
    assert command(tmp_path, "resume", "all").returncode == 1  # the refused one is refused again
    assert sorted(path.name for path in (tmp_path / "all").iterdir() if path.is_dir()) == ["0", "1"]


def test_a_run_without_a_result_is_named_as_killed_and_one_that_never_began_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(tmp_path / "0", "seed=0", status="failed", error="RunFailure: full")
    a_run(tmp_path / "1", "seed=1")
    assert close_sweep(Session(sweep_folder=tmp_path, runs=3)) == 1
    said = capsys.readouterr().err
    assert "(seed=0) failed: RunFailure: full" in said
    assert "(seed=1) killed: " in said
    assert "1 runs of this sweep never began" in said
    assert "3 of 3 runs of this sweep failed" in said


def test_runs_are_listed_by_their_numbers_and_not_by_their_letters(tmp_path: Path) -> None:
    for name in ("10", "2", "3-2", "3"):
        a_run(tmp_path / name, "seed=0", status="completed")
    assert [run.folder.name for run in sweep._runs_of(Session(sweep_folder=tmp_path))] == [
        "2",
        "3",
        "3-2",
        "10",
    ]


def test_what_lay_in_the_folder_before_is_not_of_the_sweep_unless_it_is_resumed(
    tmp_path: Path,
) -> None:
    a_run(tmp_path / "0", "seed=0", status="completed")
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    for resumes, names in ((False, []), (True, ["0"])):
        session = Session(resumes=resumes)
        token = CURRENT.set(session)
        InDriver().on_multirun_start(config)
        CURRENT.reset(token)
        assert [run.folder.name for run in sweep._runs_of(session)] == names


def test_the_job_returns_the_robust_accuracy_on_the_validation_split() -> None:
    best = {"validation_clean_accuracy": 0.9, "validation_robust_accuracy": 0.5}
    assert sweep._selection_metric({"training": {"best": best}}) == 0.5
    best["validation_robust_accuracy"] = None  # type: ignore[assignment]
    assert sweep._selection_metric({"training": {"best": best}}) == 0.9
    assert sweep._selection_metric({"training": None}) is None
