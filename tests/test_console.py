"""What is drawn while a run goes on: one live view on a terminal, plain lines elsewhere."""

import io
import logging
import re
import sys
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console

from robustrun import console
from robustrun.command_line.sweep import runs_of_sweep
from robustrun.configuration import words


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """stderr as a terminal whose text can be read."""
    text = io.StringIO()
    drawn = Console(file=text, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(console, "STDERR", drawn)
    return text


def test_bars_in_bars_stand_in_one_view_and_results_are_printed_between(
    terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.bar("sweep", 24, done=6) as sweep:
        sweep.advance(0, "run 7", images=0)
        with console.bar("training", 100) as training:
            training.advance(10, "epoch 1/3", images=640)
            training.advance(10, console.standing(1, 3, 20, 0.5, {}), images=640)
            (view,) = console._VIEWS
            assert [task.description for task in view.tasks] == ["sweep", "training"]
            view.refresh()
        console.show("a result")
        assert [task.description for task in view.tasks] == ["sweep"]
    assert not console._VIEWS
    drawn = terminal.getvalue()
    for part in ("6/24", "20/100", "epoch 1/3  step 20  loss 0.5000", "images/s", "left 0:"):
        assert part in drawn
    assert capsys.readouterr().out == "a result\n"  # stdout is not the view's
    assert sys.stdout is not drawn


def test_a_training_is_told_with_the_accuracies_of_its_last_epoch() -> None:
    row = {"validation_clean_accuracy": 0.912, "validation_robust_accuracy": 0.5}
    said = console.standing(2, 30, 40, None, row)
    assert said == "epoch 2/30  step 40  clean 91.2%  robust 50.0%"
    assert "clean" not in console.standing(1, 30, 4, 2.3, {"validation_clean_accuracy": None})


def test_without_a_terminal_lines_come_at_intervals(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), console.bar("attack pgd", 10, done=2) as bar:
        bar.advance(3, "50% stand")
        assert not caplog.records  # not yet
        bar.quiet_seconds = 0.0
        bar.advance(3, "40% stand")
    (record,) = caplog.records
    assert record.message.startswith("attack pgd: 8 of 10, 0:00:00 left  40% stand")
    assert record.message.endswith("images/s")


def test_time_left_is_unknown_before_anything_is_done() -> None:
    bar = console.Bar("work", 10, None, done=5, begun=5)
    assert bar.left == "-:--:--"
    bar.started -= 10
    bar.advance(2)
    assert bar.left == "0:00:15"  # 3 more at 5 seconds each: not those of before


@pytest.mark.parametrize(
    ("typed", "runs"),
    [
        (["method=trades"], None),
        (["-m", "method=trades"], 1),
        (["-m", "method=trades,standard", "seed=range(0,3)"], 6),
        (["--multirun", "+experiment=glob(notebook_*)"], None),  # Hydra knows the names, not we
        (["-m", "attack.epsilon=2/255,4/255,8/255", "model.widths=[1,2]"], 3),
    ],
)
def test_the_runs_of_a_sweep_are_counted(typed: list[str], runs: int | None) -> None:
    assert runs_of_sweep(words.split(typed)) == runs


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """stdout as a terminal of so many columns, or as a pipe."""

    def set_width(columns: int | None) -> None:
        monkeypatch.setenv("COLUMNS", str(columns or 80))
        monkeypatch.setattr(Console, "is_terminal", columns is not None)

    return set_width


HEADER = ["run", "status", "method", "epsilon", "clean (%)", "autoattack (%)", "worst_case (%)"]
ROWS = [
    [
        "a/very_long_name_of_a_run_folder",
        "completed",
        "trades_awp",
        "0.03137",
        "90.00",
        "-",
        "1.00",
    ],
    ["0", "completed", "pat", "-", "96.42 ± 0.31 (95.0, 97.5)", "-", "51.00 ± 1.00 (41.1, 60.9)"],
    ["1", "interrupted", "standard", "0.03137", "90.00 (82.6, 94.5)", "28.00 (20.1, 37.5)", "-"],
]


@pytest.mark.parametrize("columns", [30, 50, 80, 120, 160, 400, None])
def test_a_table_keeps_words_whole_and_a_terminal_has_room_for_its_lines(
    columns: int | None,
    screen: Callable[[int | None], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen(columns)
    console.show(console.Table("2 runs (95% interval)", HEADER, ROWS))
    shown = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)  # without bold and italic
    words = {word for cells in (HEADER, *ROWS) for cell in cells for word in cell.split()} - {"-"}
    assert words <= set(re.findall(r"[^\s│┃:]+", shown))
    longest = max(map(len, words))
    assert max(map(cell_len, shown.splitlines())) <= max(columns or 160, longest + 4)
    assert ("┏" in shown) == (columns is None or columns > 100)  # else a block for each run


def test_a_pipe_gets_a_line_for_each_row_however_wide(
    screen: Callable[[int | None], None], capsys: pytest.CaptureFixture[str]
) -> None:
    screen(None)
    name = "x" * 200
    rows = [[name, "0", "a long remark of several words"], ["b", "1", ""]]
    console.show(console.Table("wide", ["run", "seed", "note"], rows))
    assert f"│ {name} │    0 │ a long remark of several words │" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [30, 50, 80, None])
def test_what_is_said_of_a_name_has_whole_words_on_any_screen(
    columns: int | None, screen: Callable[[int | None], None]
) -> None:
    screen(columns)
    text = "FGSM from a random start, early stopping by PGD (Wong et al. 2020, arXiv:2001.03994)"
    lines = "\n".join(console.entries({"fast_at": text, "a_much_longer_name": text})).splitlines()
    assert [word for line in lines for word in line.split()] == [
        word for name in ("fast_at", "a_much_longer_name") for word in (name, *text.split())
    ]
    if columns is None:
        assert lines[0] == f"  fast_at             {text}"
    else:
        assert max(map(len, lines)) <= columns
