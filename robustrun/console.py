"""The one place that draws: log lines and progress bars on stderr, tables on stdout."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
    TimeRemainingColumn,
)
from rich.table import Table

STDERR = Console(stderr=True)
PLAIN_WIDTH = 160  # columns, where there is no terminal to ask
PLAIN = "%(asctime)s %(levelname)s %(message)s"
log = logging.getLogger(__name__)


def handler() -> logging.Handler:
    """Where log lines go: beside the bars on a terminal, else as plain lines that do not wrap."""
    if STDERR.is_terminal:
        return RichHandler(console=STDERR, show_path=False, rich_tracebacks=False, markup=False)
    plain = logging.StreamHandler()
    plain.setFormatter(logging.Formatter(PLAIN, "%H:%M:%S"))
    return plain


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Within it, everything that is logged or shown goes to the file as well."""
    file = logging.FileHandler(path)
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

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more of `total` are done; `note` is shown beside the bar."""
        self.done += count
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, advance=count, note=note)
        elif time.monotonic() - self.spoken >= self.quiet_seconds:
            self.spoken = time.monotonic()
            log.info("%s: %d of %d, %s left %s", self.title, self.done, self.total, self.left, note)

    @property
    def left(self) -> str:
        """Time left at the speed so far, as 1:02:03."""
        spent = time.monotonic() - self.started
        seconds = round(spent / max(self.done - self.begun, 1) * max(self.total - self.done, 0))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


@contextmanager
def bar(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A progress bar, `done` from before, that vanishes when its work is done."""
    if not STDERR.is_terminal:
        yield Bar(title, total, None, done=done, begun=done)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=STDERR, transient=True) as progress:
        yield Bar(
            title, total, progress, progress.add_task(title, total=total, completed=done, note="")
        )


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
    for target in (console, *logs):
        for part in parts:
            target.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)
