"""One run of a sweep writes its own folder only, and returns what a search maximises."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from robustrun.command_line import sweep_worker
from robustrun.command_line.main import run_command_line
from robustrun.command_line.session import Session
from robustrun.command_line.sweep import close_sweep
from robustrun.errors import ConfigError
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import locked
from robustrun.run_folder.schema import RunRecord, RunSection, TrainingSection
from robustrun.training.metrics import EpochMetrics
from tests.command_line.test_sweep import SMALL, a_run


def test_the_job_returns_the_robust_accuracy_on_the_validation_split() -> None:
    def trained(best: EpochMetrics | None) -> RunRecord:
        run = RunSection(status="completed")
        return RunRecord(run=run, training=TrainingSection(best=best))

    best = EpochMetrics(2, 20, 0.1, 1.0, 0.95, 0.9, 0.5, 3.0)
    assert sweep_worker._selection_metric(trained(best)) == 0.5
    clean_alone = dataclasses.replace(best, validation_robust_accuracy=None)
    assert sweep_worker._selection_metric(trained(clean_alone)) == 0.9
    assert sweep_worker._selection_metric(trained(None)) is None
    assert sweep_worker._selection_metric(RunRecord(run=RunSection(status="failed"))) is None


ABOUT = provenance.new(command="robustrun -m")


def test_no_failure_is_written_into_a_run_that_another_process_works_on_or_has_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    composed = OmegaConf.create({"seed": 0})
    a_run(tmp_path / "0", "seed=0")
    with locked(tmp_path / "0"):
        sweep_worker._record_failure(composed, tmp_path / "0", "in use", ABOUT)
        assert not (tmp_path / "0" / "results.json").exists()
        assert close_sweep(Session(sweep_folder=tmp_path)) == 1
        assert "(seed=0) running: another process works on it" in capsys.readouterr().err
    sweep_worker._record_failure(composed, tmp_path / "0", "wrong", ABOUT)
    assert json.loads((tmp_path / "0" / "results.json").read_text())["run"]["error"] == "wrong"
    a_run(tmp_path / "1", "seed=1", status="completed")
    before = (tmp_path / "1" / "results.json").read_bytes()
    sweep_worker._record_failure(composed, tmp_path / "1", "in use", ABOUT)
    assert (tmp_path / "1" / "results.json").read_bytes() == before


def test_a_worker_continues_in_its_own_folder_and_in_no_sibling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["-m", *SMALL, "evaluation.examples=20", "attack=fgsm", "seed=0", "hydra.sweep.dir=all"]
    assert run_command_line(line) == 0
    first = (tmp_path / "all" / "0" / "results.json").read_bytes()
    (tmp_path / "all" / "0" / "results.json").unlink()  # as killed before its end
    assert run_command_line([*line, "resume=auto"]) == 0
    again = json.loads((tmp_path / "all" / "0" / "results.json").read_bytes())
    assert again["evaluation"]["clean"] == json.loads(first)["evaluation"]["clean"] | {
        "seconds": again["evaluation"]["clean"]["seconds"]
    }
    assert again["run"]["resumed_at"]
    assert [path.name for path in (tmp_path / "all").iterdir() if path.is_dir()] == ["0"]


def test_a_folder_of_a_run_with_other_words_is_refused(tmp_path: Path) -> None:
    a_run(tmp_path / "0", "seed=0", status="completed")
    sweep_worker._require_own(tmp_path / "0", ["resume=auto", "seed=0"], Session())
    with pytest.raises(ConfigError, match=r"belongs to another run \(seed=0\)"):
        sweep_worker._require_own(tmp_path / "0", ["seed=1"], Session())
    sweep_worker._require_own(tmp_path / "0", ["seeds=0"], Session(resumes=True))


def test_runs_beside_each_other_take_the_gpus_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for name in ("0", "1", "2", "3", "named"):
        sweep_worker._spread_over_gpus(tmp_path / name)
    assert taken == [0, 1, 2, 0]


def test_a_worker_works_where_its_driver_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    about = {"arguments": ["-m", "seed=0,1"], "directory": str(tmp_path / "there"), "runs": 2}
    about |= {"command": "robustrun -m seed=0,1", "folders": [], "resumes": False}
    (tmp_path / "there").mkdir()
    (tmp_path / "sweep.json").write_text(json.dumps(about))
    session = sweep_worker._of_a_driver_elsewhere(tmp_path)
    assert Path(os.getcwd()) == tmp_path / "there"
    assert (session.command, session.runs) == ("robustrun -m seed=0,1", 2)
    assert sweep_worker.place(1, session) == "run 2 of 2"
