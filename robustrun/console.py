"""The one place that draws: log lines and progress bars on stderr, tables on stdout."""

import logging
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rich.table
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

STDERR = Console(stderr=True)
PLAIN_WIDTH = 160  # columns, where there is no terminal to ask
SIDE_BY_SIDE = 30  # columns for a text, at the least, beside the longest name
RECENT = 50  # moves of a bar over which its speed is taken
PLAIN = "%(asctime)s %(levelname)s %(message)s"
log = logging.getLogger(__name__)


class _CurrentStderr(logging.StreamHandler[Any]):
    """Writes to what is standard error now: a program that calls this one may have replaced it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def handler() -> logging.Handler:
    """Where log lines go: beside the bars on a terminal, else as plain lines that do not wrap."""
    if STDERR.is_terminal:
        return RichHandler(console=STDERR, show_path=False, rich_tracebacks=False, markup=False)
    plain = _CurrentStderr()
    plain.setFormatter(logging.Formatter(PLAIN, "%H:%M:%S"))
    return plain


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Everything that is logged, from INFO up, or shown goes to the file as well; once, if this is
    called again for the same file inside."""
    if any(Path(file.baseFilename) == path.absolute() for file in _FILES):
        yield
        return
    file = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter(PLAIN, "%Y-%m-%d %H:%M:%S"))
    ours = logging.getLogger("robustrun")
    level = ours.level
    if not ours.isEnabledFor(logging.INFO):  # called from Python: nobody has set up logging
        ours.setLevel(logging.INFO)
    logging.getLogger().addHandler(file)
    _FILES.append(file)
    try:
        yield
    finally:
        ours.setLevel(level)
        _FILES.remove(file)
        logging.getLogger().removeHandler(file)
        file.close()


_FILES: list[logging.FileHandler] = []


@dataclass
class Bar:
    """Progress of one piece of work: a bar on a terminal, a log line now and then elsewhere."""

    title: str
    total: int
    progress: Progress | None
    task: TaskID | None = None
    quiet_seconds: float = 30.0
    done: int = 0
    begun: int = 0  # how much was done when this began
    started: float = field(default_factory=time.monotonic)
    spoken: float = field(default_factory=time.monotonic)
    seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def advance(self, count: int = 1, note: str = "", images: int | None = None) -> None:
        """`count` more of `total` are done, in which `images` (left alone: `count`) went through;
        `note` is shown beside the bar."""
        self.done += count
        self.seen.append((time.monotonic(), count if images is None else images))
        note = "  ".join(part for part in (note, self.speed) if part)
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=self.done, note=note, left=self.left)
        elif time.monotonic() - self.spoken >= self.quiet_seconds:
            self.spoken = time.monotonic()
            log.info(
                "%s: %d of %d, %s left  %s", self.title, self.done, self.total, self.left, note
            )

    @property
    def left(self) -> str:
        """Time left at the speed so far, as 1:02:03; unknown before anything is done."""
        here = self.done - self.begun
        if here <= 0:
            return "-:--:--"
        spent = time.monotonic() - self.started
        seconds = round(spent / here * max(self.total - self.done, 0))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    @property
    def speed(self) -> str:
        """Images per second of late; nothing for work that is not counted in images."""
        images = sum(count for _, count in list(self.seen)[1:])
        spent = self.seen[-1][0] - self.seen[0][0] if self.seen else 0.0
        return f"{images / spent:,.0f} images/s" if images and spent > 0 else ""


_VIEWS: list[Progress] = []  # the one live view, while it is open


@contextmanager
def _view() -> Iterator[Progress]:
    """The live view that all bars share, so that one in another (validation in training, a run in
    a sweep) stands below it."""
    if _VIEWS:
        yield _VIEWS[0]
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left {task.fields[left]}"),
        TextColumn("{task.fields[note]}"),
    )
    # stdout is left alone: a result that is sent to a file must not end up beside the bars.
    with Progress(*columns, console=STDERR, transient=True, redirect_stdout=False) as progress:
        _VIEWS.append(progress)
        try:
            yield progress
        finally:
            _VIEWS.remove(progress)


@contextmanager
def bar(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A progress bar, `done` from before, that vanishes when its work is done."""
    if not STDERR.is_terminal:
        yield Bar(title, total, None, done=done, begun=done)
        return
    with _view() as progress:
        task = progress.add_task(title, total=total, completed=done, note="", left="-:--:--")
        try:
            yield Bar(title, total, progress, task, done=done, begun=done)
        finally:
            progress.remove_task(task)


def standing(epoch: int, epochs: int, step: int, loss: float | None, row: dict[str, Any]) -> str:
    """Where a training stands, in one line; `row` is the last finished epoch's, or empty."""
    parts = [f"epoch {epoch}/{epochs}", f"step {step}"]
    if loss is not None:
        parts.append(f"loss {loss:.4f}")
    for word in ("clean", "robust"):
        share = row.get(f"validation_{word}_accuracy")
        if share is not None:
            parts.append(f"{word} {share:.1%}")
    return "  ".join(parts)


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


def show(*parts: Table | str) -> None:
    """Print results on stdout and into the run's log; a table is as wide as its words need where
    there is no terminal."""
    console = Console()
    screen = console.width if console.is_terminal else None
    logs = [Console(file=file.stream, width=PLAIN_WIDTH) for file in _FILES]
    with _paused():
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
def _paused() -> Iterator[None]:
    """While it is open, no bar is drawn into what is printed."""
    for progress in _VIEWS:
        progress.stop()
    try:
        yield
    finally:
        for progress in _VIEWS:
            progress.start()
