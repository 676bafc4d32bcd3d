"""A sweep's runs are launched until each that can be done was tried."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from robustrun.command_line import sweep, sweeper
from robustrun.command_line.session import CURRENT, Session
from robustrun.errors import RunFailure
from tests.command_line.test_sweep import a_run

HYDRA = OmegaConf.create({"sweep": {"dir": "all", "subdir": "${hydra.job.num}"}})


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(sweep_folder=tmp_path)
    token = CURRENT.set(session)
    yield session
    CURRENT.reset(token)


class Engine:
    """A launcher in which runs of some seeds are killed, and end those after them."""

    def __init__(self, folder: Path, killed: tuple[int, ...] = (), together: bool = False) -> None:
        self.folder, self.killed, self.together = folder, killed, together
        self.calls: list[list[int]] = []

    def __call__(self, combinations: Sequence[list[str]], number: int) -> None:
        self.calls.append([int(words[0].partition("=")[2]) for words in combinations])
        died = False
        for words in combinations:
            seed, subdir = int(words[0].partition("=")[2]), words[-1].partition("=")[2].strip("'")
            kills = seed in self.killed
            died |= kills
            if not died or kills or self.together:
                lives = not kills and not (died and self.together)
                if not (self.folder / subdir).exists():
                    a_run(self.folder / subdir, f"seed={seed}")
                if lives:
                    result = '{"schema_version": 1, "run": {"status": "completed"}, "config": {}}'
                    (self.folder / subdir / "results.json").write_text(result)
        if died:
            raise RuntimeError("a worker was terminated\nunexpectedly")


def seeds(count: int) -> list[list[str]]:
    return [[f"seed={n}"] for n in range(count)]


def test_what_is_finished_is_not_launched(tmp_path: Path, session: Session) -> None:
    a_run(tmp_path / "1", "seed=1", status="completed")
    a_run(tmp_path / "2", "seed=2", status="failed")
    engine = Engine(tmp_path)
    sweeper.run_all(seeds(4), HYDRA, engine, isolated=False)
    assert engine.calls == [[0, 2, 3]]
    assert [run.folder for run in session.expected] == [tmp_path / str(n) for n in range(4)]


def test_what_a_killed_worker_took_with_it_is_launched_again(
    tmp_path: Path, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(tmp_path, killed=(2,))
    sweeper.run_all(seeds(5), HYDRA, engine, isolated=False)
    assert engine.calls == [[0, 1, 2, 3, 4], [3, 4], [2]]
    said = capsys.readouterr().err
    assert said.count("the launcher failed: RuntimeError: a worker was terminated\n") == 2
    assert "launched again: 2 runs that never began" in said
    assert f"launched again, alone: {tmp_path / '2'}" in said


def test_runs_that_died_beside_a_killed_one_are_tried_alone(
    tmp_path: Path, session: Session
) -> None:
    engine = Engine(tmp_path, killed=(1,), together=True)
    sweeper.run_all(seeds(3), HYDRA, engine, isolated=False)
    assert engine.calls == [[0, 1, 2], [1], [2]]
    assert (tmp_path / "2" / "results.json").exists()


def test_a_killed_run_that_took_no_other_with_it_is_not_launched_again(
    tmp_path: Path, session: Session
) -> None:
    engine = Engine(tmp_path, killed=(1,))
    sweeper.run_all(seeds(3), HYDRA, engine, isolated=True)
    assert engine.calls == [[0, 1, 2], [2]]


def test_a_launcher_that_begins_nothing_is_told_once(tmp_path: Path, session: Session) -> None:
    def broken(combinations: Sequence[list[str]], number: int) -> None:
        raise OSError("no srun")

    with pytest.raises(RunFailure, match="before the first run began: OSError: no srun"):
        sweeper.run_all(seeds(3), HYDRA, broken, isolated=False)


def test_a_run_that_no_launcher_begins_does_not_keep_the_driver_for_ever(
    tmp_path: Path, session: Session
) -> None:
    calls = []

    def first_only(combinations: Sequence[list[str]], number: int) -> None:
        calls.append(len(combinations))
        if not (tmp_path / "0").exists():
            a_run(tmp_path / "0", "seed=0", status="completed")
        raise OSError("no more")

    sweeper.run_all(seeds(3), HYDRA, first_only, isolated=False)
    assert calls == [3, 2, 1, 1]


@pytest.mark.parametrize(
    ("words", "subdir"),
    [(["seed=0"], "${hydra.job.num}-${seed}"), (["seed=${hydra:job.num}"], "${hydra.job.num}")],
)
def test_runs_that_are_named_or_made_by_hydras_job_number_keep_their_turn(
    tmp_path: Path, session: Session, words: list[str], subdir: str
) -> None:
    a_run(tmp_path / "0", "seed=0", status="completed")
    launched: list[tuple[object, int]] = []
    hydra: DictConfig = OmegaConf.create({"sweep": {"subdir": subdir}})
    sweeper.run_all([words, words], hydra, lambda *given: launched.append(given), isolated=False)
    assert launched == [([words, words], 0)]


def test_a_sweep_of_thousands_is_spread_over_folders(tmp_path: Path, session: Session) -> None:
    runs = sweeper.expected_runs(seeds(2500), session, in_turn=False)
    folders = [run.folder for run in runs]
    assert (folders[0], folders[999]) == (tmp_path / "0" / "0", tmp_path / "0" / "999")
    assert (folders[1000], folders[2499]) == (tmp_path / "1" / "1000", tmp_path / "2" / "2499")
    assert sweeper._words(runs[1000], session) == ["seed=1000", "hydra.sweep.subdir='1/1000'"]


def test_a_few_combinations_stand_for_all_that_are_composed_alike() -> None:
    combinations = [
        [f"method={method}", f"method.beta={beta}", f"+attack@evaluation.attacks.b={attack}"]
        for method in ("trades", "mart")
        for beta in range(500)
        for attack in ("fgsm", "pgd")
    ]
    chosen = sweeper.representatives(combinations)
    assert chosen == [combinations[0], combinations[1], combinations[1000]]


def test_a_launcher_that_does_nothing_is_not_asked_for_ever(
    tmp_path: Path, session: Session
) -> None:
    calls = []

    def idle(combinations: Sequence[list[str]], number: int) -> None:
        calls.append(len(combinations))
        if not (tmp_path / "0").exists():
            a_run(tmp_path / "0", "seed=0", status="completed")
            raise OSError("no more")

    sweeper.run_all(seeds(3), HYDRA, idle, isolated=False)
    assert calls == [3, 2, 1, 1]


def test_a_run_that_never_began_says_why(
    tmp_path: Path, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_one(combinations: Sequence[list[str]], number: int) -> None:
        for words in combinations:
            seed = int(words[0].partition("=")[2])
            if seed == 1:
                raise ValueError("seed 1 does not compose")
            if not (tmp_path / str(seed)).exists():
                a_run(tmp_path / str(seed), f"seed={seed}", status="completed")

    sweeper.run_all(seeds(3), HYDRA, without_one, isolated=True)
    assert sweep.close_sweep(session) == 1
    said = capsys.readouterr().err
    assert "run 1 (seed=1) never began: ValueError: seed 1 does not compose" in said
    assert "1 of 3 runs of this sweep failed" in said
