"""The one place that draws: log lines and progress bars on stderr, tables on stdout."""

import io
import logging
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rich.table
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

STDERR = Console(stderr=True)
PLAIN_WIDTH = 160  # columns, where there is no terminal to ask
NARROW = 70  # columns of a terminal that has no room for all that a bar or a log line has
SIDE_BY_SIDE = 30  # columns for a text, at the least, beside the longest name
MOVE = 0.25  # seconds between moves of a bar on a terminal
FIRST_LINE, LINE = 1.0, 60.0  # seconds to the first line of work in a log; pauses double up to LINE
WINDOW = (
    86_400.0  # seconds over which a bar's speed is taken, but over its last 1,000 moves at most
)
MB = 1e6  # bytes
ANNOUNCED = 10.0  # seconds to the first line of work that was announced
TIME = "%Y-%m-%d %H:%M:%S"
HEAD = "%(asctime)s %(levelname)s"
PLAIN = f"{HEAD} %(message)s"
CHATTY = ("matplotlib", "torch._subclasses")
log = logging.getLogger(__name__)


class _CurrentStderr(logging.StreamHandler[Any]):
    """Writes to what is standard error now: a program that calls this one may have replaced it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def handler() -> logging.Handler:
    """Where log lines go: beside the bars on a terminal, else as plain lines that do not wrap."""
    if STDERR.is_terminal:
        shown = RichHandler(
            console=STDERR,
            show_path=False,
            omit_repeated_times=False,
            log_time_format=TIME,
            show_time=not _is_narrow(),
            show_level=not _is_narrow(),
        )  # time and level have a column each, where there is room beside them
        text = logging.Formatter(PLAIN, TIME) if _is_narrow() else logging.Formatter("%(message)s")
        shown.setFormatter(text)
        return shown
    plain = _CurrentStderr()
    plain.setFormatter(logging.Formatter(PLAIN, TIME))
    return plain


def _is_narrow() -> bool:
    return STDERR.width < NARROW


def draw_nothing() -> None:
    """From now on this process shows no bars: another one of its run does."""
    global STDERR
    STDERR = Console(file=io.StringIO())


@contextmanager
def _without_chatter() -> Iterator[None]:
    """In this context, libraries that report their caches log nothing below a warning."""
    levels = {logger: logger.level for logger in map(logging.getLogger, CHATTY)}
    for logger, level in levels.items():
        logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Everything that is logged, from INFO up, or shown goes to the file as well; once, if this is
    called again for the same file inside. Where nobody has set up logging, as in a program that
    calls `robustrun.run`, log lines also go where the command line has them."""
    if any(Path(file.baseFilename) == path.absolute() for file in _FILES):
        yield
        return
    file = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter(PLAIN, TIME))
    ours = logging.getLogger("robustrun")
    level = ours.level
    if not ours.isEnabledFor(logging.INFO):  # called from Python: nobody has set up logging
        ours.setLevel(logging.INFO)
    handlers = [file] if logging.getLogger().handlers else [file, handler()]
    for one in handlers:
        logging.getLogger().addHandler(one)
    _FILES.append(file)
    _PAUSES.clear()  # what is announced in this log was announced in another
    try:
        with _without_chatter():
            yield
    finally:
        ours.setLevel(level)
        _FILES.remove(file)
        for one in handlers:
            logging.getLogger().removeHandler(one)
        file.close()


_FILES: list[logging.FileHandler] = []


class Speed(ProgressColumn):
    """Images or megabytes per second of late; nothing for work that is counted in neither."""

    def render(self, task: Task) -> Text:
        speed = task.speed or 0.0
        if task.fields["in_bytes"]:
            return Text(f"{speed / MB:,.1f} MB/s" if speed else "")
        images = speed * task.fields["images"]
        return Text(f"{images:,.0f} images/s" if images else "")


class Done(ProgressColumn):
    """How much is done, and of how much where that is known: 3/24, or 12.5/170.5 MB; nothing for a
    step, of which nothing is counted."""

    def render(self, task: Task) -> Text:
        if not task.fields["counted"]:
            return Text()
        done, total = _counts(task)
        return Text(f"{done:>{len(total)}}/{total}{_unit(task)}")


def _counts(task: Task) -> tuple[str, str]:
    """What is done of a task, and all of it, as text."""
    scale, digits = (MB, 1) if task.fields["in_bytes"] else (1, 0)
    total = "?" if task.total is None else f"{task.total / scale:.{digits}f}"
    return f"{task.completed / scale:.{digits}f}", total


def _unit(task: Task) -> str:
    return " MB" if task.fields["in_bytes"] else ""


class Left(ProgressColumn):
    """The time left, of work that is counted."""

    def render(self, task: Task) -> Text:
        left = TimeRemainingColumn().render(task).plain
        return Text(f"left {left}" if task.fields["counted"] else "")


class Note(ProgressColumn):
    """What is said of the last move; on a narrow terminal it is cut, and the numbers are not."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


@dataclass
class Bar:
    """Progress of one piece of work: a bar on a terminal, a log line now and then elsewhere."""

    title: str
    total: int | None
    progress: Progress  # rich's, which draws nothing where there is no terminal
    task: Task
    done: int = 0
    moves_at: float = 0.0  # the time from which a note that costs something is shown again
    begun: float = field(default_factory=lambda: time.monotonic())
    line_at: float = 0.0  # the time from which a line in a log is due

    def __post_init__(self) -> None:
        self.line_at = self.begun + _PAUSES.get(self.title, FIRST_LINE)

    def advance(self, count: int = 1, note: str | Callable[[], str] = "") -> None:
        """`count` more of `total` are done; `note` is shown beside the bar. A note that is a
        function, which may have to wait for a GPU, is asked a few times a second on a terminal,
        and in a log when a line is due."""
        self.done += count
        now = time.monotonic()
        if callable(note) and now < self.moves_at and self.done != self.total:
            return
        self.moves_at = now + MOVE
        self.progress.update(self.task.id, completed=self.done)
        if not self.progress.disable:
            self.progress.update(self.task.id, note=_text(note))
        elif self.takes_its_line():
            self.say(_text(note))

    def takes_its_line(self) -> bool:
        """Whether a line is due; whoever asks writes it. The next one is due after twice the pause,
        and one of work with the same title, which was announced by then, no sooner."""
        with _LINES:
            if time.monotonic() < self.line_at:
                return False
            pause = min(2 * _PAUSES.get(self.title, FIRST_LINE), LINE)
            _PAUSES[self.title], self.line_at = pause, time.monotonic() + pause
            return True

    def say(self, note: str = "") -> None:
        """Write how far the work is into the log."""
        so_far = f"{time.monotonic() - self.begun:.0f} s so far"
        if not self.task.fields["counted"]:
            log.info("%s, %s", self.title, so_far)
            return
        speed = Speed().render(self.task).plain
        note = "  ".join(part for part in (note, speed) if part)
        counts = " of ".join(_counts(self.task)) + _unit(self.task)
        left = f"{self.left} left" if self.task.speed else so_far
        log.info("%s: %s, %s  %s", self.title, counts, left, note)

    @property
    def left(self) -> str:
        """Time left at the speed of late, as 1:02:03; unknown before anything is done."""
        return TimeRemainingColumn().render(self.task).plain


def _text(note: str | Callable[[], str]) -> str:
    return note() if callable(note) else note


_LINES = threading.Condition()  # held by whoever decides on a line, or changes what is under way
_PAUSES: dict[str, float] = {}  # by its title, the seconds between lines of work; of this log
_UNDER_WAY: list[Bar] = []  # where no bar is drawn, the innermost last
_VIEWS: list[Progress] = []  # the one live view, while it is open


@contextmanager
def _view() -> Iterator[Progress]:
    """The live view that all bars share, so that one in another (validation in training, a run in
    a sweep) stands below it; where there is no terminal, one of the bar's own that is not drawn."""
    if _VIEWS:
        yield _VIEWS[0]
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        Done(Column(no_wrap=True)),
        TimeElapsedColumn(Column(no_wrap=True)),
        Left(Column(no_wrap=True)),
        Note(),
        Speed(Column(no_wrap=True)),
    )
    short = (SpinnerColumn(), TextColumn("{task.description}"), Done(), Left())
    progress = Progress(
        *(short if _is_narrow() else columns),
        console=STDERR,
        transient=True,
        redirect_stdout=False,  # a result that is sent to a file must not end up beside the bars
        refresh_per_second=1 / MOVE,
        speed_estimate_period=WINDOW,
        get_time=time.monotonic,
        disable=not STDERR.is_terminal,
    )
    if progress.disable:
        yield progress
        return
    with progress:
        _VIEWS.append(progress)
        try:
            yield progress
        finally:
            _VIEWS.remove(progress)


@contextmanager
def _watched(bar: Bar) -> Iterator[None]:
    """In this context, a thread writes the bar's lines when they are due, also while nothing moves;
    of work in other work the innermost alone speaks so."""
    with _LINES:
        _UNDER_WAY.append(bar)
        if len(_UNDER_WAY) == 1:
            with suppress(RuntimeError):  # no thread is to be had: then moves alone are told
                threading.Thread(target=_watch, args=(bar,), daemon=True).start()
        _LINES.notify_all()
    try:
        yield
    finally:
        with _LINES:
            _UNDER_WAY.remove(bar)
            _LINES.notify_all()


def _watch(outermost: Bar) -> None:
    while True:
        with _LINES:
            if outermost not in _UNDER_WAY:
                return
            latest = _UNDER_WAY[-1]
            if (wait := latest.line_at - time.monotonic()) > 0:
                _LINES.wait(wait)
                continue
        if latest.takes_its_line():
            latest.say()


@contextmanager
def step(title: str, announced: bool = False) -> Iterator[None]:
    """Work that may take long and that nothing is counted of: a terminal shows it at once, and a
    log names it after a second; if it was `announced` there, after ten."""
    if announced:
        _PAUSES.setdefault(title, ANNOUNCED)
    with bar(title, None, counted=False):
        yield


@contextmanager
def bar(
    title: str,
    total: int | None,
    done: int = 0,
    images: int = 0,
    in_bytes: bool = False,
    counted: bool = True,
) -> Iterator[Bar]:
    """A progress bar, `done` from before, that vanishes when its work is done; `images`: how many
    of them go through in one of `total`, for work that is counted in images; `in_bytes`: `total`
    (None: unknown) is bytes."""
    fields: dict[str, Any] = {
        "note": "",
        "images": images,
        "in_bytes": in_bytes,
        "counted": counted,
    }
    with _view() as progress:
        task = progress.add_task(title, total=total, completed=done, **fields)
        progress.advance(task, 0)  # its speed counts from now
        made = Bar(title, total, progress, progress.tasks[-1], done)
        try:
            with _watched(made) if progress.disable else nullcontext():
                yield made
        finally:
            progress.remove_task(task)


@dataclass(frozen=True)
class Table:
    """A table whose first column is text and whose others are numbers; words are never cut: where
    its columns cannot be as wide as their longest words, each row is a block of lines."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.title, style="italic")
        widths = self._widths(options.max_width)
        if widths is None:
            yield Text(self._blocks(options.max_width), no_wrap=True, overflow="ignore")
            return
        drawn = rich.table.Table()
        for place, (name, width) in enumerate(zip(self.header, widths, strict=True)):
            drawn.add_column(name, justify="right" if place else "left", width=width)
        for row in self.rows:
            drawn.add_row(*map(Text, row))
        yield drawn

    @property
    def narrowest(self) -> int:
        """The columns of a screen that its longest words need side by side."""
        return sum(self._longest(str.split)) + self._lines

    @property
    def widest(self) -> int:
        """The columns of a screen on which no line of a cell is wrapped."""
        return sum(self._longest(str.splitlines)) + self._lines

    @property
    def _lines(self) -> int:
        """What is between and around columns: a line and two spaces for each, and the last line."""
        return 3 * len(self.header) + 1

    def _longest(self, parts: Callable[[str], list[str]]) -> list[int]:
        """For each column the width of the longest of the parts (words, lines) of its cells."""
        columns = zip(self.header, *self.rows, strict=True)
        return [
            max(cell_len(part) for cell in cells for part in [*parts(cell), ""])
            for cells in columns
        ]

    def _widths(self, available: int) -> list[int] | None:
        """How wide each column is: what is left after the longest words goes to the narrowest of
        those that could use more; None if these words do not fit."""
        widths, wanted = self._longest(str.split), self._longest(str.splitlines)
        left = available - self.narrowest
        if left < 0:
            return None
        while left and (short := [i for i, width in enumerate(widths) if width < wanted[i]]):
            widths[min(short, key=lambda place: widths[place])] += 1
            left -= 1
        return widths

    def _blocks(self, available: int) -> str:
        lines = []
        for first, *others in self.rows:
            lines.append(f"{self.header[0]} {first}".rstrip())
            for name, cell in zip(self.header[1:], others, strict=True):
                if cell:
                    lines.append(hanging(f"  {name}: ", " ".join(cell.split()), available, 4))
        return "\n".join(lines)


def hanging(head: str, text: str, width: int, indent: int) -> str:
    """`head` and `text` in lines of at most `width` columns, the further ones indented; a word that
    is longer stays whole."""
    return "\n".join(
        textwrap.wrap(
            head + text,
            width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def entries(texts: dict[str, str]) -> list[str]:
    """Names and what is said of them, side by side; a terminal that is too narrow for that gets
    the text in lines of whole words below the beginning of the first."""
    screen, longest = Console(), max(map(len, texts), default=0)
    if not screen.is_terminal:
        return [f"  {name:{longest}}  {text}".rstrip() for name, text in texts.items()]
    beside = screen.width >= longest + SIDE_BY_SIDE
    column, indent = (longest, longest + 4) if beside else (0, 6)
    return [
        hanging(f"  {name:{column}}  ", text, screen.width, indent) for name, text in texts.items()
    ]


class _Results(Console):
    """stdout, which may be a pipe to a program that has read enough."""

    def on_broken_pipe(self) -> None:
        """What follows is printed to nowhere, and the work that it is the result of is not lost;
        rich would end the process."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(*parts: Table | str) -> None:
    """Print results on stdout and into the run's log; a table is as wide as its words need where
    there is no terminal."""
    console = _Results()
    screen = console.width if console.is_terminal else None
    logs = [Console(file=file.stream, width=PLAIN_WIDTH) for file in _FILES]
    with paused():
        for part in parts:
            _print(console, part, screen)
            for target in logs:
                _print(target, part, None)


def _print(console: Console, part: Table | str, screen: int | None) -> None:
    """`screen`: the columns of a terminal, or None for a pipe or a file."""
    if isinstance(part, str):
        console.print(part, soft_wrap=True, markup=False, highlight=False)
        return
    console.width = screen or max(PLAIN_WIDTH, part.widest)
    console.print(part, crop=False, highlight=False)


@contextmanager
def paused() -> Iterator[None]:
    """In this context, no bar is drawn into what is printed, by this process or another."""
    for progress in _VIEWS:
        progress.stop()
    try:
        yield
    finally:
        for progress in _VIEWS:
            progress.start()
