"""A sweep is told by the folders of its runs, whichever process did them."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from robustrun.command_line import sweep, sweep_folder
from robustrun.command_line.main import run_command_line
from robustrun.command_line.session import CURRENT, ExpectedRun, Session
from robustrun.command_line.sweep import InDriver, close_sweep, driven
from robustrun.configuration import words
from robustrun.report import collect
from robustrun.report.summary import SweepSummary
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import locked
from tests.engines.installed import require_launcher

SMALL = ("model=simple_cnn", "method=standard", "training.epochs=1", "evaluation=none")
SMALL += ("keep.figures=false",)


def command(folder: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "robustrun", *typed]
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(line, cwd=folder, env=threads, capture_output=True, text=True)


def a_run(
    folder: Path,
    *given: str,
    status: str | None = None,
    error: str = "",
    config: dict[str, Any] | None = None,
) -> None:
    """The folder of a run as a worker leaves it; without a status, of one that was killed."""
    claimed = provenance.claim(folder, provenance.new(command="robustrun -m", swept=list(given)))
    if status is not None:
        about = {"id": folder.name, "status": status, "error": error or None, "seconds": 1.0}
        results = {"schema_version": 1, "run": about, "config": config or {}}
        (claimed / "results.json").write_text(json.dumps(results))


def started(session: Session, folder: Path, sweeper: str = sweep.BASIC_SWEEPER) -> DictConfig:
    """What Hydra tells the driver before the first run; returns its configuration."""
    hydra = {"sweep": {"dir": str(folder)}, "sweeper": {"_target_": sweeper}}
    config = OmegaConf.create({"hydra": hydra | {"overrides": {"hydra": []}}})
    token = CURRENT.set(session)
    InDriver().on_multirun_start(config)
    CURRENT.reset(token)
    if session.refusal is not None:
        raise session.refusal
    return config


def test_a_sweep_in_other_processes_is_told_from_its_folders(tmp_path: Path) -> None:
    require_launcher("joblib")
    typed = ("-m", "hydra/launcher=joblib", *SMALL, "attack.epsilon=0.1,7", "hydra.sweep.dir=all")
    done = command(tmp_path, *typed)
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
    assert about["arguments"] == list(typed)
    assert about["command"].startswith("robustrun -m hydra/launcher=joblib")
    origin = json.loads((tmp_path / "all" / "0" / "checkpoint" / "origin.json").read_text())
    assert origin["command"] == about["command"]
    assert command(tmp_path, "resume", "all").returncode == 1  # the refused one is refused again
    assert sorted(path.name for path in (tmp_path / "all").iterdir() if path.is_dir()) == ["0", "1"]


def test_ours_takes_the_place_of_hydras_own_sweeper_and_of_no_other(tmp_path: Path) -> None:
    cases = ((sweep.BASIC_SWEEPER, 4, sweep.OUR_SWEEPER), ("a.Search", None, "a.Search"))
    for sweeper, runs, target in cases:
        session = Session(runs=4)
        config = started(session, tmp_path, sweeper)
        assert session.runs == runs
        assert config.hydra.sweeper._target_ == target


def test_a_launcher_that_fails_leaves_a_summary_of_what_was_done_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session()
    with driven(session):
        started(session, tmp_path)
        a_run(tmp_path / "0", "seed=0", status="completed")
        raise RuntimeError("a worker\nwas terminated")
    assert "the launcher failed: RuntimeError: a worker was terminated" in capsys.readouterr().err
    assert close_sweep(session) == 1
    for error in (KeyboardInterrupt, RuntimeError):  # without a run, it is not the launcher's
        other = Session()
        with pytest.raises(error), driven(other):
            raise error


def test_an_interrupted_sweep_has_the_run_that_was_interrupted_in_its_summary(
    tmp_path: Path,
) -> None:
    def interrupted() -> None:
        session = Session()
        with driven(session):
            started(session, tmp_path)
            a_run(tmp_path / "0", "seed=4", status="interrupted")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with (tmp_path / "summary.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["status"], row["seed"]) == ("interrupted", "4")


def test_the_summary_of_a_sweep_reads_what_each_run_left_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    walked: list[Path] = []
    walk = os.walk
    monkeypatch.setattr(
        collect,
        "read_record",
        lambda folder, whole=collect.read_record: read.append(folder.name) or whole(folder),
    )
    monkeypatch.setattr(sweep_folder.os, "walk", lambda place: walked.append(place) or walk(place))
    session = Session()
    token = CURRENT.set(session)
    started(session, tmp_path)
    for seed in range(12):
        session.latest = tmp_path / str(seed)
        a_run(session.latest, f"seed={seed}", status="completed")
        InDriver().on_job_end(OmegaConf.create({}), JobReturn())
        with (tmp_path / "summary.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [(row["run"], row["seed"]) for row in rows] == [
            (str(n), str(n)) for n in range(seed + 1)
        ]
    CURRENT.reset(token)
    assert read == [str(seed) for seed in range(12)]
    assert len(walked) == 2  # as the sweep began, and for its first row
    before = (tmp_path / "summary.csv").read_bytes()
    sweep._summarise(tmp_path, sweep_folder.runs_in(tmp_path))
    assert (tmp_path / "summary.csv").read_bytes() == before


def test_a_key_that_comes_later_gets_a_value_in_every_row(tmp_path: Path) -> None:
    summary = SweepSummary(tmp_path)
    for name, given in (("0", {"seed": "0"}), ("1", {"seed": "1", "device.threads": "1"})):
        a_run(tmp_path / name, status="completed", config={"device": {"threads": 2 - int(name)}})
        summary.add(tmp_path / name, given)
        summary.write()
    with (tmp_path / "summary.csv").open() as file:
        assert [row["device.threads"] for row in csv.DictReader(file)] == ["2", "1"]


def test_a_sweep_that_is_resumed_twice_at_once_leaves_the_run_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ("evaluation.examples=20", "attack=fgsm", "device.threads=1")
    assert run_command_line(["-m", *SMALL, *short, "seed=0", "hydra.sweep.dir=all"]) == 0
    run = tmp_path / "all" / "0"
    (run / "results.json").unlink()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with locked(run):  # the first one
        assert run_command_line(["resume", "all"]) == 1
        assert "is in use: another process works on this run" in capfd.readouterr().err
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert run_command_line(["resume", "all"]) == 0


def test_a_run_that_left_nothing_or_no_result_is_named_as_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(tmp_path / "0", "seed=0", status="failed", error="RunFailure: full")
    a_run(tmp_path / "1", "seed=1")
    expected = [ExpectedRun(n, (f"seed={n}",), tmp_path / str(n)) for n in range(3)]
    assert close_sweep(Session(sweep_folder=tmp_path, runs=3, expected=expected)) == 1
    said = capsys.readouterr().err
    assert "(seed=0) failed: RunFailure: full" in said
    assert "(seed=1) killed: " in said
    assert "run 2 (seed=2) killed: " in said
    assert "3 of 3 runs of this sweep failed" in said
    assert close_sweep(Session(sweep_folder=tmp_path, runs=4)) == 1  # another's sweeper
    assert "4 of 4 runs of this sweep failed" in capsys.readouterr().err


def test_of_many_runs_that_failed_the_first_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(25):
        a_run(tmp_path / str(n), f"seed={n}", status="failed", error="full")
    assert close_sweep(Session(sweep_folder=tmp_path)) == 1
    said = capsys.readouterr().err
    assert said.count("failed: full") == 20
    assert "and 5 more\n" in said


def test_a_sweep_has_a_folder_of_its_own_unless_it_continues_another(tmp_path: Path) -> None:
    for name, typed in (("all", ["-m", "seed=0,1"]), ("all-2", ["-m", "seed=2,3"])):
        session = Session(line=words.split(typed), command=" ".join(typed))
        config = started(session, tmp_path / "all")
        assert session.sweep_folder == tmp_path / name
        about = json.loads((tmp_path / name / "sweep.json").read_text())
        assert (about["arguments"], about["command"]) == (typed, " ".join(typed))
        assert config.hydra.sweep.dir == str(tmp_path / name)  # which launchers look at
        assert config.hydra.overrides.hydra == [f"hydra.sweep.dir='{tmp_path / name}'"]
    session = Session(resumes=True, command="robustrun resume")
    started(session, tmp_path / "all-2")
    assert session.sweep_folder == tmp_path / "all-2"
    about = json.loads((tmp_path / "all-2" / "sweep.json").read_text())
    assert (about["command"], about["resumes"]) == ("-m seed=2,3", True)
    automatic = Session(line=words.split(["-m", "resume='auto'", "seed=0,1"]))
    started(automatic, tmp_path / "all")
    assert automatic.sweep_folder == tmp_path / "all"


def test_a_sweep_does_not_share_a_folder_with_runs_of_others(tmp_path: Path) -> None:
    a_run(tmp_path / "all" / "0", "seed=0", status="completed")
    session = Session()
    started(session, tmp_path / "all")
    assert session.sweep_folder == tmp_path / "all-2"
    assert session.new_folders == [tmp_path / "all-2"]


def test_a_sweep_into_a_folder_that_cannot_be_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert run_command_line(["-m", *SMALL, "seed=0,1", "hydra.sweep.dir=file/all"]) == 2
    assert "file" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
