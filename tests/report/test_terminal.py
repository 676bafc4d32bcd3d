"""Tables on the terminal: numbers stay whole, published numbers are told apart."""

import io
import re
from pathlib import Path

import pytest
import run_folders
from rich.console import Console

from robustrun.command_line.report import command
from robustrun.console import Table
from robustrun.report import collect, grouping, summary, terminal


def narrow(table: Table) -> set[str]:
    """The words of a table on a terminal of 80 columns."""
    shown = io.StringIO()
    Console(file=shown, width=80).print(table)
    return {word.strip("(,)") for word in re.split(r"[\s│]+", shown.getvalue())}


def test_a_narrow_table_never_breaks_a_number(tmp_path: Path) -> None:
    runs = collect.find_runs([run_folders.sweep(tmp_path / "sweep")])
    parts = grouping.grouped(runs, ["method.name"])
    of_runs = {f"{100 * end:.1f}" for run in runs for end in summary.intervals(run)["clean"]}
    assert of_runs <= narrow(terminal.comparison(runs))
    spreads = [spread for part in parts if (spread := part.spread("clean"))]
    of_groups = {f"{100 * end:.1f}" for spread in spreads for end in (spread.low, spread.high)}
    assert len(of_groups) == 4
    assert of_groups <= narrow(terminal.group_table(runs, parts))


def test_published_numbers_beside_a_part_of_the_test_set_are_told_of(
    capfd: pytest.CaptureFixture[str],
) -> None:
    results = run_folders.results("trades", 0, 90, 50)
    entry = {"attack": "pgd", "measure": "accuracy", "accuracy": 0.5, "source": "a log"}
    results["config"]["published"] = [entry]
    terminal.show_run(run_folders.record(results))
    assert "this run measured" not in capfd.readouterr().out
    run_folders.fewer_images(results)
    terminal.show_run(run_folders.record(results))
    assert "this run measured 100 of 10000 test images (first)" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+experiment=trades_resnet18", "seed=3", "device.threads=1", "dataset.root=d"], ""),
        (["+experiment=trades_resnet18", "attack.epsilon=4/255"], "attack.epsilon=4/255"),
        (["+experiment=x", "model=small_cnn", "training.epochs=1"], "model=small_cnn, training"),
        (None, ""),  # of a version that did not keep them
    ],
)
def test_published_numbers_are_told_from_a_changed_recipe(
    overrides: list[str] | None, said: str
) -> None:
    results = run_folders.results("trades", 0, 90, 50)
    results["run"]["overrides"] = overrides
    entry = {"attack": "clean", "measure": "accuracy", "accuracy": 0.5, "source": "a paper"}
    results["config"]["published"] = [entry]
    remarks = [
        line
        for line in terminal._sources(run_folders.record(results))
        if "recipe as it stands" in line
    ]
    assert [said in line for line in remarks] == ([True] if said else [])


def test_of_many_rows_the_first_are_shown_and_how_many_more_there_are_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "MOST_ROWS", 4)
    sweep = run_folders.sweep(tmp_path / "sweep")
    for name in ("6", "7", "8", "9", "10"):
        (sweep / name).mkdir()
        (sweep / name / "results.json").write_text("{")
    assert command([str(sweep), "--output", str(tmp_path / "report")]) == 0
    shown = capfd.readouterr().out
    assert "11 runs (95% interval)" in shown
    assert shown.count("│ completed │") == 4
    assert f"7 further runs are not shown; {tmp_path / 'report' / 'summary.csv'} has them" in shown
    assert shown.count("cannot be read") == 4
    assert "skipped 1 further folders" in shown
    assert command([str(sweep), "--by", "run", "--html", str(tmp_path / "a.html")]) == 0
    shown = capfd.readouterr().out
    assert "2 further rows are not shown; --markdown FILE writes them" in shown
    terminal.show_table(sorted(sweep.iterdir()))
    assert "7 further runs are not shown; summary.csv has them" in capfd.readouterr().out
