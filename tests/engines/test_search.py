"""hydra/sweeper=optuna: whole searches, with Optuna itself."""

import csv
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hydra.core.plugins import Plugins
from short_run import SHORT

pytest.importorskip("optuna", reason="robustrun[search] is not installed")
import optuna

import hydra_plugins.robustrun
from robustrun import experiment
from robustrun.command_line import search
from robustrun.command_line.main import run_command_line
from robustrun.report import study
from robustrun.run_folder import provenance, pruning
from robustrun.run_folder.schema import RunRecord, read_record
from robustrun.storage import studies
from tests.engines.installed import require_launcher
from tests.engines.misbehaving import put_plugin, robustrun, swept

pytestmark = pytest.mark.engines
OPTUNA = ["-m", "hydra/sweeper=optuna", "hydra.sweep.dir=all"]
RATE = "optimizer.lr=tag(log, interval(0.001,0.1))"
TRIALS = "hydra.sweeper.n_trials"


WHOLE = [*SHORT, RATE, f"{TRIALS}=4", "hydra.sweeper.n_startup_trials=2"]


def searched(sweep: Path) -> study.StudyRecord:
    record = study.read(sweep)
    assert record is not None
    return record


def results(sweep: Path, run: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((sweep / str(run) / "results.json").read_text())
    return content


@pytest.fixture(autouse=True, scope="module")
def _without_figures() -> Iterator[None]:
    """Most of the time of such a short run, and nothing that a search looks at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_draw", lambda *given: None)
        yield


def basic_launcher() -> Any:
    """The class, as Hydra has imported it."""
    name = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    return Plugins.instance().class_name_to_class[name]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search with the words WHOLE."""
    folder = tmp_path_factory.mktemp("whole") / "all"
    assert run_command_line([*OPTUNA[:2], f"hydra.sweep.dir={folder}", *WHOLE]) == 0
    return folder


def test_the_best_run_by_validation_is_found_and_its_command_trains_the_same(
    whole: Path, here: Path
) -> None:
    record = searched(whole)
    assert [(t.run, t.state) for t in record.trials] == [(n, "complete") for n in range(4)]
    assert len({trial.parameters["optimizer.lr"] for trial in record.trials}) == 4
    reached = [
        results(whole, n)["training"]["best"]["validation_robust_accuracy"] for n in range(4)
    ]
    assert [trial.values for trial in record.trials] == [[value] for value in reached]
    assert [trial.run for trial in record.best] == [
        n for n in range(4) if reached[n] == max(reached)
    ]
    best = record.best[0]
    program, *typed = shlex.split(best.command)
    assert program == "robustrun"
    assert run_command_line([*typed, "hydra.run.dir=again"]) == 0
    weights = [whole / str(best.run), here / "again"]
    assert len({(run / "model.safetensors").read_bytes() for run in weights}) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([RATE, "training.validation_fraction=0"], "training.validation_fraction is 0"),
        (["method.betta=1,2"], "method.betta"),
        ([RATE, "training.validation_attack=null"], "training.validation_attack is null"),
        (["optimizer.lr=interval(-1,1)"], "optimizer.lr is -1.0"),
        (["seed=1"], "needs something to search"),
        (["attack.epsilon=interval(0.01,0.1)"], "training.validation_attack.epsilon is 0.01"),
        (["optimizer.lr=tag(lgo, interval(0.1,1))"], "one tag, log"),
        (["optimizer.lr=tag(log, interval(0,1))"], "cannot be searched"),
        ([RATE, "hydra.sweeper.sampler=grid"], "has an interval"),
        ([RATE, "hydra.sweeper.sampler=tpr"], "Did you mean 'tpe'?"),
        ([RATE, "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials is 0"),
        ([RATE, "hydra.sweeper.objectives=[test_accuracy]"], "hydra.sweeper.objectives[0]"),
        (
            [
                RATE,
                "hydra.sweeper.objectives=[validation_clean_accuracy,validation_robust_accuracy]",
                "hydra.sweeper.pruner=median",
            ],
            "prunes by one objective",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_first_trial(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run_command_line([*OPTUNA, *SHORT, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (here / "all").exists()


def test_two_objectives_have_a_front_in_the_study_the_summary_and_the_page(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = "hydra.sweeper.objectives=[validation_clean_accuracy,validation_robust_accuracy]"
    assert run_command_line([*OPTUNA, *SHORT, both, RATE, f"{TRIALS}=4"]) == 0
    record = searched(here / "all")
    values = {trial.run: trial.values for trial in record.trials}
    front = {
        run
        for run, own in values.items()
        if not any(
            all(a >= b for a, b in zip(other, own, strict=True)) and other != own
            for other in values.values()
        )
    }
    assert {trial.run for trial in record.best} == front
    with (here / "all" / "summary.csv").open() as file:
        marked = {int(row["run"]) for row in csv.DictReader(file) if row["trial"] == "pareto"}
    assert marked == front
    said = capsys.readouterr().out
    assert f"to train with it: {record.best[0].command}" in said
    page = (here / "all" / "report.html").read_text()
    assert "Pareto front of 4 trials" in page
    assert page.count("<strong>Pareto front</strong>") == len(front)


def test_an_experiment_of_ones_own_can_say_what_is_searched(here: Path) -> None:
    (here / "mine" / "experiment").mkdir(parents=True)
    (here / "mine" / "experiment" / "rates.yaml").write_text(
        "# @package _global_\n"
        "hydra:\n"
        "  sweeper:\n"
        "    n_trials: 2\n"
        "    sampler: grid\n"
        "    params:\n"
        "      optimizer.lr: 0.1,0.01\n"
    )
    assert run_command_line([*OPTUNA, "-cd", "mine", "+experiment=rates", *SHORT]) == 0
    trials = searched(here / "all").trials
    assert [trial.parameters for trial in trials] == [
        {"optimizer.lr": "0.1"},
        {"optimizer.lr": "0.01"},
    ]
    assert trials[0].command.startswith("robustrun --config-dir=mine ")


def test_a_grid_has_each_combination_once(here: Path) -> None:
    grid = ["hydra.sweeper.sampler=grid", f"{TRIALS}=100"]
    words = ["seed=range(3,0,-2)", "optimizer.lr=0.01,0.1"]
    assert run_command_line([*OPTUNA, *SHORT, *grid, *words]) == 0
    assert [tuple(trial.parameters.values()) for trial in searched(here / "all").trials] == [
        (1, "0.01"),
        (1, "0.1"),
        (3, "0.01"),
        (3, "0.1"),
    ]


def test_hopeless_trainings_end_at_an_epochs_end(here: Path) -> None:
    pruner = ["hydra.sweeper.pruner=median", "hydra.sweeper.prune_after_trials=2"]
    grid = ["hydra.sweeper.sampler=grid", "optimizer.lr=0.1,1e-9", "seed=0,1"]
    words = [*SHORT[2:], "training.epochs=3", "training.batch_size=32", *pruner, *grid]
    assert run_command_line([*OPTUNA, *words]) == 0
    record = searched(here / "all")
    assert [trial.state for trial in record.trials] == ["complete", "complete", "pruned", "pruned"]
    assert [trial.run for trial in record.best] in ([0], [1], [0, 1])
    for run in (2, 3):
        training = results(here / "all", run)["training"]
        assert training["epochs"] == 1
        assert training["pruned"] == "after epoch 1 of 3, by the pruner median of a search"
        assert results(here / "all", run)["run"]["status"] == "completed"
    assert results(here / "all", 0)["training"]["pruned"] is None
    with (here / "all" / "summary.csv").open() as file:
        marks = [row["trial"] for row in csv.DictReader(file)]
    assert marks[2:] == ["pruned", "pruned"]
    assert "best" in marks[:2]
    assert run_command_line(["resume", "all"]) == 0
    assert [trial.state for trial in searched(here / "all").trials] == [
        t.state for t in record.trials
    ]


def test_a_run_in_several_processes_is_pruned_in_all_of_them(here: Path) -> None:
    place = str(here / "study.journal")
    kept = optuna.create_study(
        study_name="s", storage=studies.open_storage(place), direction="maximize"
    )
    best = kept.ask()
    best.report(1.0, 1)
    kept.tell(best, 1.0)
    median = pruning.Pruner("median", trials=1, after=1, epochs=3)
    trial = pruning.Trial(place, "s", kept.ask().number, "validation_robust_accuracy", median)
    pruning.write(here / "run", trial)
    words = [*SHORT[1:], "training.epochs=3", "device.processes=2", "hydra.run.dir=run"]
    assert run_command_line(words) == 0
    results = json.loads((here / "run" / "results.json").read_text())
    assert results["training"]["epochs"] == 1
    assert results["training"]["pruned"].startswith("after epoch 1 of 3")
    again = optuna.load_study(study_name="s", storage=studies.open_storage(place))
    assert list(again.trials[1].intermediate_values) == [1]


def test_a_failed_run_does_not_end_the_search_and_is_done_again_by_resume(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = experiment.load_data

    def fails(cfg: Any, folder: Path) -> Any:
        if folder.name == "1":
            raise OSError("a disk that is away")
        return load(cfg, folder)

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "load_data", fails)
        assert run_command_line([*OPTUNA, *SHORT, RATE, f"{TRIALS}=3"]) == 1
    assert "1 of 3 runs of this sweep failed" in capsys.readouterr().err
    before = searched(here / "all")
    assert [trial.state for trial in before.trials] == ["complete", "fail", "complete"]
    assert run_command_line(["resume", "all"]) == 0
    after = searched(here / "all")
    assert [trial.state for trial in after.trials] == ["complete"] * 3
    assert [t.parameters for t in after.trials] == [t.parameters for t in before.trials]


def test_more_trials_can_follow(here: Path) -> None:
    for trials in (1, 3):
        more = ["resume=auto", f"{TRIALS}={trials}"]
        assert run_command_line([*OPTUNA, *SHORT, RATE, *more]) == 0
        kept = searched(here / "all").trials
        storage = studies.open_storage(str(here / "all" / "study.journal"))
        optuna.load_study(study_name="all", storage=storage).ask()  # as a kill may leave it
        assert [(trial.run, trial.state) for trial in kept] == [
            (n, "complete") for n in range(trials)
        ]
    assert "resume=" not in kept[0].command
    states = [t.state.name for t in optuna.load_study(study_name="all", storage=storage).trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "RUNNING"]


def test_only_one_process_does_a_search(
    whole: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FileLock(whole / "study.lock"):
        assert run_command_line(["resume", str(whole)]) == 2
    assert f"{whole} is in use" in capsys.readouterr().err
    assert run_command_line(["resume", str(whole)]) == 0


def test_what_a_launcher_loses_is_launched_again(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher, calls = basic_launcher(), list[int]()
    launch = launcher.launch

    def loses(self: Any, given: list[list[str]], initial_job_idx: int) -> Any:
        calls.append(len(given))
        if len(calls) == 1:
            launch(self, given[:1], initial_job_idx)
            raise RuntimeError("a worker is gone")
        return launch(self, given, initial_job_idx)

    monkeypatch.setattr(launcher, "launch", loses)
    words = [*OPTUNA, *SHORT, RATE, f"{TRIALS}=3", "hydra.sweeper.n_jobs=2"]
    assert run_command_line(words) == 0
    assert "a worker is gone" in capsys.readouterr().err
    assert calls == [2, 1, 1]
    assert [trial.state for trial in searched(here / "all").trials] == ["complete"] * 3


def test_what_ended_by_itself_is_not_launched_again(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher, calls = basic_launcher(), list[int]()
    launch = launcher.launch

    def ends(self: Any, given: list[list[str]], initial_job_idx: int) -> Any:
        calls.append(len(given))
        if len(calls) == 1:
            launch(self, given[:1], initial_job_idx)
            about = provenance.new(command="robustrun -m", swept=given[1][:-1])
            provenance.claim(here / "all" / "1", about)
            raise RuntimeError("a job is gone")
        return launch(self, given, initial_job_idx)

    monkeypatch.setattr(launcher, "launch", ends)
    monkeypatch.setattr(hydra_plugins.robustrun, "_EngineLauncher", launcher)
    words = [*OPTUNA, *SHORT, RATE, f"{TRIALS}=3", "hydra.sweeper.n_jobs=2"]
    assert run_command_line(words) == 1
    assert calls == [2, 1]
    assert [t.state for t in searched(here / "all").trials] == ["complete", "fail", "complete"]
    assert "1 of 3 runs of this sweep failed" in capsys.readouterr().err


def test_a_run_without_its_number_is_a_failed_trial(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_training(folder: Path) -> RunRecord:
        return dataclasses.replace(read_record(folder), training=None)

    monkeypatch.setattr(search, "read_record", without_training)
    assert run_command_line([*OPTUNA, *SHORT, RATE, f"{TRIALS}=1"]) == 0
    assert [trial.state for trial in searched(here / "all").trials] == ["fail"]
    assert study.findings(searched(here / "all")) == ["no trial of this search is complete"]


def test_a_launcher_that_begins_nothing_ends_the_search(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(self: Any, given: list[list[str]], initial_job_idx: int) -> Any:
        raise RuntimeError("no queue of this name")

    with monkeypatch.context() as patch:
        patch.setattr(basic_launcher(), "launch", fails)
        assert run_command_line([*OPTUNA, *SHORT, RATE, f"{TRIALS}=2"]) == 1
    assert "no queue of this name" in capsys.readouterr().err


@pytest.mark.parametrize("storage", ["shared.journal", "sqlite:///shared.db"])
def test_a_study_of_ones_own_goes_on_in_another_sweep(
    here: Path, capsys: pytest.CaptureFixture[str], storage: str
) -> None:
    shared = [f"hydra.sweeper.storage={storage}", "hydra.sweeper.study_name=mine"]
    for name in ("one", "two"):
        words = [*OPTUNA[:2], f"hydra.sweep.dir={name}", *SHORT, *shared, RATE, f"{TRIALS}=1"]
        assert run_command_line(words) == 0
    kept = optuna.load_study(study_name="mine", storage=studies.open_storage(storage))
    assert len(kept.trials) == 2
    for name in ("one", "two"):
        assert [trial.run for trial in searched(here / name).trials] == [0]
        assert not (here / name / "study.journal").exists()
    capsys.readouterr()
    others = [*OPTUNA, *SHORT, *shared, "optimizer.lr=0.1,0.2", f"{TRIALS}=1"]
    assert run_command_line(others) == 2
    assert "has searched other values" in capsys.readouterr().err


def test_a_search_that_is_killed_goes_on_to_the_same_trials(whole: Path, here: Path) -> None:
    line = [sys.executable, "-m", "robustrun", *OPTUNA, *WHOLE]
    driver = subprocess.Popen(line, cwd=here, start_new_session=True, stderr=subprocess.DEVNULL)
    sweep, until = here / "all", time.monotonic() + 60
    second = sweep / "1" / "checkpoint" / "origin.json"
    while not second.is_file() and driver.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert second.is_file()
    assert not (sweep / "3").exists()
    with (sweep / "study.journal").open("a") as journal:
        journal.write('{"op_code":4,"worker_id"')  # as a kill in the middle of a line leaves it
    finished = (sweep / "0" / "results.json").stat().st_mtime_ns
    assert run_command_line(["resume", "all"]) == 0
    assert (sweep / "0" / "results.json").stat().st_mtime_ns == finished, "done twice"
    assert [(t.run, t.parameters, t.values) for t in searched(sweep).trials] == [
        (t.run, t.parameters, t.values) for t in searched(whole).trials
    ]
    assert sorted(p.name for p in sweep.iterdir() if p.is_dir()) == ["0", "1", "2", "3"]


def test_runs_are_done_and_pruned_in_the_processes_of_another_launcher(here: Path) -> None:
    require_launcher("joblib")
    parallel = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"]
    pruner = ["hydra.sweeper.pruner=median", "hydra.sweeper.prune_after_trials=2"]
    grid = ["hydra.sweeper.sampler=grid", "optimizer.lr=0.1,0.05,1e-9"]
    short = [*SHORT[2:], "training.epochs=2", "training.batch_size=32"]
    line = [*OPTUNA, *short, *parallel, *pruner, *grid]
    command = [sys.executable, "-m", "robustrun", *line]
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=here, env=threads, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [t.state for t in searched(here / "all").trials] == ["complete", "complete", "pruned"]
    assert results(here / "all", 2)["training"]["epochs"] == 1


@pytest.mark.long
def test_a_run_that_kills_its_process_fails_alone_and_is_done_by_resume(here: Path) -> None:
    require_launcher("joblib")
    put_plugin(here)
    parallel = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"]
    grid = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid"]
    done = robustrun(here, *swept("kill", "good"), *grid, *parallel)
    assert done.returncode == 1, done.stderr
    trials = searched(here / "all").trials
    assert [trial.state for trial in trials] == ["fail", "complete"]
    assert "1 of 2 runs of this sweep failed" in done.stderr
    assert "method.kind=kill) killed: " in done.stderr
    (here / "mended").touch()
    done = robustrun(here, "resume", "all", "hydra/launcher=basic")
    assert done.returncode == 0, done.stderr
    assert [trial.state for trial in searched(here / "all").trials] == ["complete"] * 2
