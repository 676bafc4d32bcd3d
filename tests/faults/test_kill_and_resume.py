"""Killed at any moment, a run goes on to the same bits."""

import json
import random
import shlex
import shutil
import signal
import time
from pathlib import Path

import pytest
from conftest import SHORT, changed, fingerprint
from process import Command, robustrun

from robustrun import experiment
from robustrun.compute import interrupts
from robustrun.configuration import composition
from robustrun.configuration.run_config import load_config

MOMENTS = 20
AGAIN = [*SHORT, "hydra.run.dir=run", "resume=auto", "training.checkpoint_steps=1"]


@pytest.fixture(scope="module")
def checkpointing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The run that is disturbed below, whole, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("checkpointing")
    began = time.monotonic()
    robustrun(folder, *AGAIN)
    return folder / "run", time.monotonic() - began


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_sigkill_at_a_random_moment_then_resume_gives_the_same_bits(
    tmp_path: Path, checkpointing: tuple[Path, float], moment: int
) -> None:
    whole, seconds = checkpointing
    command = Command.start(tmp_path, *AGAIN)
    # One moment in each twentieth of the run's time, so that every part of it is hit.
    share = (moment + random.Random(moment).random()) / MOMENTS
    command.child.join(share * seconds)
    command.child.kill()
    command.end()
    if moment % 2 and (tmp_path / "run/checkpoint/origin.json").is_file():
        robustrun(tmp_path, "resume", "run")
    else:
        robustrun(tmp_path, *AGAIN)
    assert fingerprint(tmp_path / "run") == fingerprint(whole)
    assert not [p for p in tmp_path.rglob(".*") if p.is_file()], "a write that was cut short"


START = ["training.epochs=1", "evaluation=none", "keep.figures=false"]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that is killed as it starts, whole."""
    folder = tmp_path_factory.mktemp("started")
    robustrun(folder, *changed(SHORT, *START), "hydra.run.dir=run")
    return folder / "run"


@pytest.mark.parametrize("event", range(1, 17))
def test_killed_at_any_step_of_its_start_a_run_has_begun_or_has_left_nothing(
    tmp_path: Path, started: Path, event: int
) -> None:
    words = [*changed(SHORT, *START), "hydra.run.dir=run"]
    run = tmp_path / "run"
    command = Command.start(tmp_path, *words, killed_at=event)
    assert command.end() == -signal.SIGKILL, "it did not come to so many steps"
    if (run / "checkpoint" / "origin.json").is_file():
        robustrun(tmp_path, "resume", "run")
    else:  # not claimed yet: nobody's
        assert (
            "is started again" in robustrun(tmp_path, "resume", "run", code=2) or not run.exists()
        )
        robustrun(tmp_path, *words)
    assert fingerprint(run) == fingerprint(started)
    assert [path.name for path in tmp_path.glob("run*")] == ["run"]


@pytest.mark.parametrize("event", range(9, 25, 2))
def test_killed_as_it_starts_a_run_of_a_sweep_goes_on_alone_and_with_its_sweep(
    tmp_path: Path, event: int
) -> None:
    words = ["-m", *changed(SHORT, *START), "seed=0,1", "hydra.sweep.dir=sweep"]
    Command.start(tmp_path, *words, killed_at=event).end()
    if not (tmp_path / "sweep" / "sweep.json").is_file():  # nothing has begun
        assert not list(tmp_path.rglob("origin.json"))
        robustrun(tmp_path, *words)
    if (tmp_path / "sweep/0/checkpoint/origin.json").is_file():
        robustrun(tmp_path, "resume", "sweep/0")
    robustrun(tmp_path, "resume", "sweep")
    results = [json.loads((tmp_path / f"sweep/{n}/results.json").read_text()) for n in (0, 1)]
    assert [found["run"]["status"] for found in results] == ["completed"] * 2
    assert [found["config"]["seed"] for found in results] == [0, 1]
    assert sorted(p.name for p in (tmp_path / "sweep").iterdir() if p.is_dir()) == ["0", "1"]


def test_killed_at_random_moments_of_its_start_a_run_goes_on(tmp_path: Path, started: Path) -> None:
    words = [*changed(SHORT, *START), "hydra.run.dir=run"]
    run, drawn = tmp_path / "run", random.Random(0)
    for _ in range(12):  # again and again the same run, or the same command where none had begun
        begun = (run / "checkpoint" / "origin.json").is_file()
        command = Command.start(tmp_path, *(["resume", "run"] if begun else words))
        command.child.join(drawn.random() * 1.2)
        command.child.kill()
        command.end()
    begun = (run / "checkpoint" / "origin.json").is_file()
    robustrun(tmp_path, *(["resume", "run"] if begun else words))
    assert fingerprint(run) == fingerprint(started)
    assert [path.name for path in tmp_path.glob("run*")] == ["run"]


def test_an_evaluation_that_is_killed_as_it_starts_goes_on(tmp_path: Path, started: Path) -> None:
    words = ["evaluate", str(started), "attack.steps=1"]
    Command.start(tmp_path, *words, killed_at=18).end()
    (about,) = tmp_path.glob("outputs/*/*/checkpoint/origin.json")
    robustrun(tmp_path, "resume", str(about.parents[1]))
    found = json.loads((about.parents[1] / "results.json").read_text())
    assert found["run"]["status"] == "completed"
    assert found["evaluated"]["source"] == str(started)
    assert found["config"]["attack"]["steps"] == 1


def test_what_a_killed_write_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    left = [tmp_path / "run" / name for name in (".config.yaml.k2.part", "checkpoint/.o.x.part")]
    for path in left:
        path.write_text("half a fi")
    experiment.run(load_config(composition.compose_config(SHORT)), tmp_path / "run")
    assert not any(path.exists() for path in left)


def test_sigkill_while_a_checkpoint_is_being_written(
    tmp_path: Path, checkpointing: tuple[Path, float]
) -> None:
    folder = tmp_path / "run" / "checkpoint"

    def writes() -> bool:
        return (folder / "previous.ckpt").exists() and any(folder.glob(".last.ckpt.new*"))

    for _ in range(10):  # a write is over in a moment: on a busy machine it may be missed
        command = Command.start(tmp_path, *AGAIN)
        while command.child.is_alive() and not writes():
            time.sleep(0.001)
        command.child.kill()
        command.end()
        if any(folder.glob(".last.ckpt.new*")):
            break
        shutil.rmtree(tmp_path / "run")
    else:
        raise AssertionError("no write was seen")
    robustrun(tmp_path, "resume", "run")
    assert fingerprint(tmp_path / "run") == fingerprint(checkpointing[0])


def continuing(said: str, what: str) -> list[str]:
    """The words of the command that the last line tells: it is there to be pasted."""
    before, _, command = said.splitlines()[-1].partition(" To continue: robustrun ")
    assert before == f"robustrun: {what}."
    return shlex.split(command)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_training_is_saved_named_and_resumed(
    tmp_path: Path, undisturbed: Path, number: int
) -> None:
    command = Command.start(tmp_path, *SHORT, "hydra.run.dir='a run'")
    run = tmp_path / "a run"
    command.wait_until((run / "metrics.csv").exists)
    command.send(number)
    assert command.end() == {signal.SIGTERM: 143, signal.SIGINT: 130}[signal.Signals(number)]
    what = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}[signal.Signals(number)]
    words = continuing(command.said(), what)
    assert json.loads((run / "results.json").read_text())["run"]["status"] == "interrupted"
    assert (run / "checkpoint" / "last.ckpt").is_file()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    said = robustrun(elsewhere, *words)
    assert f"everything is written to {run}\n" in said
    assert "continuing in epoch" in said
    assert fingerprint(run) == fingerprint(undisturbed)


def test_a_signal_in_an_evaluation_repeats_no_finished_batch(
    tmp_path: Path, undisturbed: Path
) -> None:
    command = Command.start(tmp_path, *SHORT, "hydra.run.dir=run")
    journal = tmp_path / "run" / "checkpoint" / "evaluation.journal"
    command.wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 3)
    command.send(signal.SIGTERM)
    assert command.end() == 143
    lines = journal.read_bytes().splitlines()
    robustrun(tmp_path, "resume", "run")
    after = journal.read_bytes().splitlines()
    assert after[: len(lines)] == lines
    keys = [json.loads(line.partition(b" ")[2])[0] for line in after if line]
    assert len(keys) == len(set(keys)), "a batch was measured twice"
    assert fingerprint(tmp_path / "run") == fingerprint(undisturbed)


def test_an_evaluation_of_a_finished_run_goes_on(tmp_path: Path, undisturbed: Path) -> None:
    words = ["evaluate", str(undisturbed), "attack.steps=7"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    robustrun(whole, *words)
    command = Command.start(killed, *words)
    command.wait_until(
        lambda: any(f.read_bytes().count(b"\n") >= 3 for f in killed.rglob("*.journal"))
    )
    command.child.kill()
    command.end()
    (journal,) = killed.glob("outputs/*/*/checkpoint/evaluation.journal")
    robustrun(tmp_path, "resume", str(journal.parents[1]))
    (results,) = whole.glob("outputs/*/*/results.json")
    found = json.loads((journal.parents[1] / "results.json").read_text())
    expected = json.loads(results.read_text())
    assert found["evaluated"] == expected["evaluated"]
    for one, other in zip(
        found["evaluation"]["attacks"], expected["evaluation"]["attacks"], strict=True
    ):
        assert (one["name"], one["correct"]) == (other["name"], other["correct"])


def test_a_finished_run_that_is_resumed_is_left_as_it_is(tmp_path: Path, undisturbed: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*") if p.is_file()}
    robustrun(tmp_path, "resume", str(undisturbed))
    assert before == {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*") if p.is_file()}


def test_a_changed_configuration_is_refused_with_what_differs(
    tmp_path: Path, undisturbed: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    words = [*SHORT, "hydra.run.dir=run", "resume=auto", "optimizer.lr=0.7"]
    said = robustrun(tmp_path, *words, code=2)
    assert "optimizer.lr was 0.05 and is 0.7" in said


def test_the_same_command_goes_on_with_the_latest_unfinished_run(
    tmp_path: Path, undisturbed: Path
) -> None:
    words = [*SHORT, "resume=auto"]
    command = Command.start(tmp_path, *words)
    command.wait_until(lambda: any(tmp_path.glob("outputs/*/*/checkpoint/last.ckpt")))
    command.child.kill()
    command.end()
    assert "continuing in epoch" in robustrun(tmp_path, *words)
    (run,) = tmp_path.glob("outputs/*/*/results.json")
    assert fingerprint(run.parent) == fingerprint(undisturbed)
    assert len(list(run.parent.parent.iterdir())) == 1, "no empty folder is left"
    robustrun(tmp_path, *words)  # nothing is unfinished now: a run of its own
    assert len(list(tmp_path.glob("outputs/*/*/results.json"))) == 2


def test_a_sweep_that_is_interrupted_tells_how_to_continue_it(tmp_path: Path) -> None:
    words = ["-m", *changed(SHORT, *START), "seed=0,1,2", "hydra.sweep.dir='my sweep'"]
    command = Command.start(tmp_path, *words)
    sweep = tmp_path / "my sweep"
    command.wait_until((sweep / "1/checkpoint/origin.json").exists)
    command.send(signal.SIGINT)
    assert command.end() == 130
    assert command.said().count(f"robustrun: the runs of this sweep are written to {sweep}\n") == 1
    robustrun(tmp_path, *continuing(command.said(), "interrupted"))
    states = [json.loads((sweep / f"{n}/results.json").read_text()) for n in range(3)]
    assert [results["run"]["status"] for results in states] == ["completed"] * 3


def test_a_sweep_goes_on_with_what_is_missing_or_failed(tmp_path: Path) -> None:
    short = changed(SHORT, "training.epochs=1", "keep.figures=false")
    words = ["-m", *short, "seed=0,1,2", "hydra.sweep.dir=sweep"]
    command = Command.start(tmp_path, *words)
    command.wait_until((tmp_path / "sweep/1/checkpoint/origin.json").exists)
    command.child.kill()
    command.end()
    first = (tmp_path / "sweep/0/results.json").stat().st_mtime_ns
    robustrun(tmp_path, "resume", "sweep")
    assert (tmp_path / "sweep/0/results.json").stat().st_mtime_ns == first
    states = [
        json.loads((tmp_path / f"sweep/{n}/results.json").read_text())["run"]["status"]
        for n in range(3)
    ]
    assert states == ["completed"] * 3
    assert (tmp_path / "sweep/summary.csv").read_text().count("completed") == 3
    assert sorted(p.name for p in (tmp_path / "sweep").iterdir() if p.is_dir()) == ["0", "1", "2"]


def test_two_processes_never_work_on_one_run(tmp_path: Path) -> None:
    words = changed(SHORT, "training.epochs=30", "keep.figures=false", "hydra.run.dir=run")
    first = Command.start(tmp_path, *words)
    first.wait_until((tmp_path / "run/metrics.csv").exists)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    said = robustrun(elsewhere, "resume", str(tmp_path / "run"), code=2)
    assert "another process works on this run" in said
    assert first.child.is_alive()
    first.child.kill()  # what a dead process held is free
    first.end()
    robustrun(elsewhere, "resume", str(tmp_path / "run"))


def test_resume_says_what_it_needs(tmp_path: Path) -> None:
    for words in (["resume"], ["resume", "nowhere"], ["resume", "."], ["resume", ".", "seed=1"]):
        said = robustrun(tmp_path, *words, code=2)
        assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "name", "error"),
    [
        (signal.SIGTERM, "SIGTERM", interrupts.Terminated),
        (signal.SIGINT, "Ctrl-C", KeyboardInterrupt),
    ],
)
def test_a_first_signal_is_answered_now_and_a_second_one_stops_at_once(
    number: signal.Signals,
    name: str,
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    arrived = signal.getsignal(number)

    def signalled(times: int) -> None:
        with interrupts.held() as waiting:
            signal.raise_signal(number)
            assert waiting == [number]  # the first waits
            answer = f"{name}: the step under way is finished first; a second one stops at once"
            assert [record.message for record in caplog.records] == [answer]
            if times > 1:
                signal.raise_signal(number)
                pytest.fail("the second was held back as well")

    for times in (1, 2):  # one that nobody looked at is raised at the end
        caplog.clear()
        with pytest.raises(error):
            signalled(times)
    assert signal.getsignal(number) == arrived
