"""What is drawn while a run goes on: one live view on a terminal, plain lines elsewhere."""

import datetime
import io
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

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


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(console, "time", clock := Clock())
    monkeypatch.setattr(console, "FIRST_LINE", 1.0)
    monkeypatch.setattr(console, "_watched", lambda bar: nullcontext())  # its moves alone are told
    monkeypatch.setattr(console, "_PAUSES", {})
    return clock


class Asked:
    """A note that counts how often it was made: each time may wait for a GPU."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return f"loss {self.times}"


def test_bars_in_bars_stand_in_one_view_and_results_are_printed_between(
    terminal: io.StringIO, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.bar("sweep", 24, done=6) as sweep:
        sweep.advance(0, "run 7")
        with console.bar("training", 100, images=64) as training:
            for step in (10, 20):
                clock.now += 1
                training.advance(10, f"epoch 1/3  step {step}  loss 0.5000")
            (view,) = console._VIEWS
            assert [task.description for task in view.tasks] == ["sweep", "training"]
            view.refresh()
        console.show("a result")
        assert [task.description for task in view.tasks] == ["sweep"]
    assert not console._VIEWS
    drawn = terminal.getvalue()
    shown = ("6/24", "20/100", "epoch 1/3  step 20  loss 0.5000", "640 images/s", "left 0:00:08")
    for part in shown:
        assert part in drawn
    assert capsys.readouterr().out == "a result\n"  # stdout is not the view's
    assert sys.stdout is not drawn


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_on_a_narrow_terminal_the_note_is_cut_and_the_numbers_are_not(
    columns: int, terminal: io.StringIO, clock: Clock
) -> None:
    console.STDERR.width = columns
    with console.bar("attack validation", 1000, images=1) as bar:
        clock.now += 60
        bar.advance(400, "epoch 1/40  step 20  loss 2.2851  clean 25.7%")
        bar.progress.refresh()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).splitlines()
    shown = [line.rstrip() for line in lines if "400/1000" in line]
    numbers = ["attack validation", "400/1000", "0:01:00 left 0:01:30 epoch 1", "7 images/s"]
    assert shown
    assert all(number in shown[-1] for number in numbers)
    assert ("clean 25.7%" in shown[-1]) == (columns == 200)


@pytest.mark.parametrize(
    ("step", "steps", "shown"),  # seconds of a step, how many, how often the note is made
    [(30.0, 10, 10), (0.5, 100, 100), (1 / 128, 1281, 41), (1 / 1024, 257, 2)],
)
def test_on_a_terminal_the_first_step_is_shown_and_then_a_few_a_second(
    step: float, steps: int, shown: int, terminal: io.StringIO, clock: Clock
) -> None:
    note = Asked()
    with console.bar("training", 5000, images=64) as bar:
        clock.now += step
        bar.advance(note=note)
        assert (note.times, bar.task.completed) == (1, 1)
        assert bar.task.time_remaining == pytest.approx(4999 * step, abs=1)
        for _ in range(steps - 1):
            clock.now += step
            bar.advance(note=note)
        assert note.times == shown
        assert bar.task.completed == pytest.approx(steps, abs=console.MOVE / step)


def test_the_last_step_of_all_is_shown(terminal: io.StringIO, clock: Clock) -> None:
    note = Asked()
    with console.bar("training", 3) as bar:
        for _ in range(3):
            bar.advance(note=note)
        assert (bar.task.completed, note.times) == (3, 2)  # the first and the last


@pytest.mark.parametrize(
    ("step", "steps", "lines"),
    [
        (30.0, 10, [1, 2, 3, 4, 5, 7, 9]),
        (1.0, 200, [1, 3, 7, 15, 31, 63, 123, 183]),  # in the end one a minute
        (1 / 128, 1000, [129, 385, 897]),
        (1 / 1024, 1000, []),  # all is over before it is worth a line
    ],
)
def test_in_a_log_lines_come_after_doubling_pauses_and_nothing_is_asked_of_the_gpu_between(
    step: float,
    steps: int,
    lines: list[int],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    note = Asked()
    with caplog.at_level(logging.INFO), console.bar("training", 1000, images=64) as bar:
        for _ in range(steps):
            clock.now += step
            bar.advance(note=note)
    said = [record.message for record in caplog.records]
    assert [int(line.removeprefix("training: ").partition(" ")[0]) for line in said] == lines
    assert note.times == len(lines)
    for place, line in zip(lines, said, strict=True):
        left = datetime.timedelta(seconds=round((1000 - place) * step))
        speed = f"{64 / step:,.0f} images/s"
        assert (
            line
            == f"training: {place} of 1000, {left} left  loss {lines.index(place) + 1}  {speed}"
        )


def test_work_that_was_announced_is_not_announced_again_in_the_same_log(
    clock: Clock, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def validate() -> None:
        with console.bar("validation", 10) as bar:
            for _ in range(10):
                clock.now += 0.15
                bar.advance()

    with caplog.at_level(logging.INFO):
        validate()
        validate()  # it takes less than the pause by now
        assert len(caplog.records) == 1
        with console.logging_to(tmp_path / "run.log"):
            validate()
    assert len(caplog.records) == 2


# Slow work is a wait for its own announcement, so that these tests depend on no speed.


class Heard(logging.Handler):
    """Lets work wait until something is said of it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.heard = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self.heard:
            self.messages.append(record.getMessage())
            self.heard.notify_all()

    def wait_for(self, beginning: str, count: int = 1) -> None:
        def said() -> bool:
            return sum(text.startswith(beginning) for text in self.messages) >= count

        with self.heard:
            assert self.heard.wait_for(said, timeout=60), self.messages


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """What a log is told, which takes no second here."""
    monkeypatch.setattr(console, "FIRST_LINE", 0.01)
    monkeypatch.setattr(console, "_PAUSES", {})
    logger, handler = logging.getLogger("robustrun"), Heard()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_work_is_announced_while_it_lasts_and_told_again(heard: Heard) -> None:
    with console.step("reading the data set cifar10"):
        heard.wait_for("reading the data set cifar10, 0 s so far", 2)
    with console.bar("training", 90, images=64) as bar:
        heard.wait_for("training: 0 of 90, 0 s so far")  # a first step that compiles
        bar.advance()


def test_of_work_in_other_work_the_innermost_speaks(heard: Heard) -> None:
    with console.bar("sweep", 4), console.step("drawing figures"):
        heard.wait_for("drawing figures", 2)
        assert not any(text.startswith("sweep") for text in heard.messages[1:])
    with console.step("writing the report"):
        heard.wait_for("writing the report")  # the thread of the first work is over


def test_nothing_is_said_of_quick_work_and_no_thread_stays(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "FIRST_LINE", 3600.0)
    for _ in range(3):
        with console.step("reading"):
            watches = [t for t in threading.enumerate() if "_watch" in t.name]
        assert watches
        for watch in watches:
            watch.join(60)
    assert not any("_watch" in thread.name for thread in threading.enumerate())
    assert heard.messages == []


def test_a_terminal_shows_a_step_at_once_and_counts_nothing(terminal: io.StringIO) -> None:
    with console.step("reading the data set cifar10"):
        console._VIEWS[0].refresh()
    drawn = terminal.getvalue()
    assert "reading the data set cifar10" in drawn
    assert "left" not in drawn
    assert "0/" not in drawn


def test_time_left_counts_what_was_done_here(clock: Clock) -> None:
    with console.bar("work", 10, done=5) as bar:
        assert bar.left == "-:--:--"
        clock.now += 10
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


# --- one format of the log -----------------------------------------------------------------------

LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(INFO|WARNING) +(.*)"


def parts_of(text: str) -> list[tuple[str, str]]:
    """The level and the text of each log line, of which all have time, level and text."""
    lines = [re.fullmatch(LINE, line.rstrip()) for line in text.splitlines()]
    return [(line[1], line[2]) for line in lines if line is not None]


@pytest.mark.parametrize("screen", [True, False])
def test_a_log_has_the_same_fields_in_the_same_order_wherever_it_is_read(
    screen: bool,
    terminal: io.StringIO,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not screen:
        monkeypatch.setattr(console, "STDERR", Console(stderr=True, force_terminal=False))
    root, ours = logging.getLogger(), logging.getLogger("robustrun.tried")
    monkeypatch.setattr(root, "handlers", [console.handler()])
    with console.logging_to(tmp_path / "run.log"):
        ours.info("epoch %d", 1)
        ours.info("epoch %d", 2)  # in the same second: the time is there all the same
        ours.warning("not [made]")
    right = [("INFO", "epoch 1"), ("INFO", "epoch 2"), ("WARNING", "not [made]")]
    shown = terminal.getvalue() if screen else capsys.readouterr().err
    assert parts_of(shown) == right
    assert len(shown.splitlines()) == 3
    assert parts_of((tmp_path / "run.log").read_text()) == right


def test_from_python_log_lines_are_shown_where_nobody_has_set_up_logging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, ours = logging.getLogger(), logging.getLogger("robustrun.tried")
    monkeypatch.setattr(root, "handlers", [])
    with console.logging_to(tmp_path / "run.log"):
        ours.info("epoch 1")
        assert len(root.handlers) == 2
    assert root.handlers == []
    assert parts_of(capsys.readouterr().err) == [("INFO", "epoch 1")]
    theirs = logging.NullHandler()
    root.addHandler(theirs)
    with console.logging_to(tmp_path / "run.log"):
        ours.info("epoch 2")
    assert capsys.readouterr().err == ""
    assert root.handlers == [theirs]
    assert parts_of((tmp_path / "run.log").read_text()) == [
        ("INFO", "epoch 1"),
        ("INFO", "epoch 2"),
    ]


@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG, logging.ERROR])
@pytest.mark.parametrize("library", ["matplotlib", "torch._subclasses"])
def test_what_libraries_say_of_their_caches_is_left_out_of_a_run_alone(
    library: str, level: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger(library)
    monkeypatch.setattr(logger, "level", level)
    with console.logging_to(tmp_path / "run.log"):
        cache = logging.getLogger(f"{library}.cache")
        assert not cache.isEnabledFor(logging.INFO)
        assert cache.isEnabledFor(logging.ERROR)
        assert logger.level == max(level, logging.WARNING)
    assert logger.level == level


def test_importing_a_run_and_its_figures_changes_no_logging() -> None:
    code = (
        "import logging, robustrun.experiment, robustrun.run_folder.figures\n"
        "print([logging.getLogger(name).level for name in ('matplotlib', 'torch._subclasses')])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["[0,", "0]"]
