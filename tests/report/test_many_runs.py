"""A report over many runs: the work for each run does not grow with their number."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import run_folders

import robustrun
from robustrun.command_line.report import command
from robustrun.report import collect, judged, page, sweep, terminal

PACKAGE = str(Path(robustrun.__file__).parent)
SIZES = (50, 100, 200)
# Between two sizes, twice as many runs are added as between the two before. If each run takes the
# same work, twice the work is added; if it takes work for each other run, four times as much.
# The rest is for dictionaries of which a few runs differ.
MOST_GROWTH = 2.15


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page and a terminal that show the same number of rows whatever there is."""
    monkeypatch.setattr(page, "MOST_GROUPS", 10)
    monkeypatch.setattr(page, "MOST_RUNS", 20)
    monkeypatch.setattr(page, "MOST_IMAGES", 1)
    monkeypatch.setattr(terminal, "MOST_ROWS", 10)


def betas(results: dict[str, Any], number: int) -> None:
    results["config"]["method"]["beta"] = number / 10


def radii(results: dict[str, Any], number: int) -> None:
    results["config"]["attack"]["epsilon"] = 0.001 * (1 + number)
    results["evaluation"]["attacks"][0]["epsilon"] = 0.001 * (1 + number)


def seeds(results: dict[str, Any], number: int) -> None:
    results["config"]["seed"] = number


def runs(root: Path, number: int, vary: Callable[[dict[str, Any], int], None]) -> list[Path]:
    folders = []
    for place in range(number):
        results = run_folders.results("trades", 0, 60 + place % 40, 20 + place % 30)
        vary(results, place)
        folders.append(root / str(place))
        run_folders.written(folders[-1], results)
    return folders


def operations(work: Callable[[], Any]) -> int:
    """How many operations of robustrun's own code Python executes."""
    count = 0

    def own(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return own

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        return own

    before = sys.gettrace()
    sys.settrace(called)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("vary", [betas, radii, seeds])
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--by", "method.name,attack.epsilon,seed", "--sort", "worst_case", "--where", "seed>=0"],
    ],
)
def test_each_run_adds_the_same_work(
    vary: Callable[[dict[str, Any], int], None], words: list[str], tmp_path: Path
) -> None:
    for number in SIZES:
        runs(tmp_path / str(number), number, vary)
    counts = [
        operations(lambda: command([str(tmp_path / str(n)), *words, "--output", str(tmp_path)]))  # noqa: B023
        for n in SIZES
    ]
    assert counts[2] - counts[1] < MOST_GROWTH * (counts[1] - counts[0])


@pytest.mark.usefixtures("small")
def test_at_the_end_of_a_sweep_each_run_adds_the_same_work(tmp_path: Path) -> None:
    counts = []
    for number in SIZES:
        folders = runs(tmp_path / str(number), number, betas)

        def end(folders: list[Path] = folders) -> None:
            terminal.show_table(folders)
            sweep.remarks((folder, {"method.beta": folder.name}) for folder in folders)
            page.write_sweep(folders[0].parent, folders)

        counts.append(operations(end))
    assert counts[2] - counts[1] < MOST_GROWTH * (counts[1] - counts[0])


@pytest.mark.usefixtures("small")
def test_each_run_is_read_and_judged_once_and_a_second_time_if_the_page_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = runs(tmp_path / "runs", 60, betas)
    reads: Counter[Path] = Counter()
    judgements: Counter[Path] = Counter()
    read, judgement = collect.read, judged.judgement

    def counted_read(folder: Path) -> collect.StoredRun:
        reads[folder] += 1
        return read(folder)

    def counted_judgement(run: collect.StoredRun) -> judged.Values:
        judgements[run.folder] += 1
        return judgement(run)

    monkeypatch.setattr(collect, "read", counted_read)
    monkeypatch.setattr(judged, "judgement", counted_judgement)
    assert command([str(tmp_path / "runs"), "--output", str(tmp_path)]) == 0
    assert set(reads) == set(folders)
    assert Counter(reads.values()) == {1: 40, 2: 20}
    assert judgements == dict.fromkeys(folders, 1)


def test_a_comparison_reads_each_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_folders.sweep(tmp_path / "sweep")
    reads: Counter[str] = Counter()
    read = collect.read

    def counted_read(folder: Path) -> collect.StoredRun:
        reads[folder.name] += 1
        return read(folder)

    monkeypatch.setattr(collect, "read", counted_read)
    words = ["--compare", "method=standard", "method=trades"]
    assert command([str(tmp_path / "sweep"), *words]) == 0
    assert "Over 3 seeds that both have" in capfd.readouterr().out
    assert reads == dict.fromkeys("012345", 1)
