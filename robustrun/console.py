"""The one place that draws: log lines and progress bars on stderr, tables on stdout."""

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
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
from rich.table import Table

STDERR = Console(stderr=True)
PLAIN_WIDTH = 160  # columns, where there is no terminal to ask
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
    """Within it, everything that is logged or shown goes to the file as well."""
    file = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter(PLAIN, "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(file)
    _FILES.append(file)
    try:
        yield
    finally:
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


def table(title: str, header: list[str], rows: list[list[str]]) -> Table:
    """A table whose first column is text and whose others are numbers."""
    made = Table(title=title, title_justify="left")
    for position, name in enumerate(header):
        made.add_column(name, justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def show(*parts: Table | str) -> None:
    """Print results on stdout and into the run's log; nothing is cut where there is no terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    logs = [Console(file=file.stream, width=PLAIN_WIDTH) for file in _FILES]
    with _paused():
        for target in (console, *logs):
            for part in parts:
                target.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)


@contextmanager
def _paused() -> Iterator[None]:
    """Within it, no bar is drawn into what is printed."""
    for progress in _VIEWS:
        progress.stop()
    try:
        yield
    finally:
        for progress in _VIEWS:
            progress.start()
