"""The section of report.html about a search: its trials, the best first, and the Pareto front."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from robustrun.report import study, summary
from robustrun.report.page_tables import UNKNOWN, Cell, Row, Table
from robustrun.report.study import StudyRecord, StudyTrial

MOST_ROWS = 200
WIDTH, HEIGHT, MARGIN = 440, 320, 40  # of the picture, in its own units


@dataclass(frozen=True)
class Point:
    """A trial in the picture."""

    x: float
    y: float
    best: bool
    title: str


@dataclass(frozen=True)
class Picture:
    """Two objectives against each other; the ends of each axis are percents, as text."""

    titles: tuple[str, str]
    x_ends: tuple[str, str]
    y_ends: tuple[str, str]
    points: list[Point]


@dataclass(frozen=True)
class Section:
    title: str
    table: Table
    left_out: int  # trials
    picture: Picture | None  # None unless there are two objectives


def sections(folders: Iterable[Path]) -> list[Section]:
    """One for each search that these runs belong to."""
    places = dict.fromkeys(place for run in folders for place in (run.parent, run.parent.parent))
    records = [(place, record) for place in places if (record := study.read(place)) is not None]
    return [
        Section(
            f"{place.name}: {record.title}",
            _table(f"search{number}", record),
            len(record.trials) - MOST_ROWS,
            picture(record) if len(record.objectives) == 2 else None,
        )
        for number, (place, record) in enumerate(records)
    ]


def _table(name: str, record: StudyRecord) -> Table:
    trials = sorted(record.trials, key=lambda trial: (not trial.best, trial.run))
    head = ["run", "trial", *(f"{name} (%)" for name in record.objectives), *record.keys]
    return Table(name, head, [_row(trial, record) for trial in trials[:MOST_ROWS]])


def _row(trial: StudyTrial, record: StudyRecord) -> Row:
    best = "Pareto front" if len(record.objectives) > 1 else "best"
    state = best if trial.best else trial.state
    values = [Cell(f"{100 * value:.2f}", value, best=trial.best) for value in trial.values]
    values += [UNKNOWN] * (len(record.objectives) - len(values))
    chosen = [trial.parameters.get(key) for key in record.keys]
    cells = [Cell(summary.text(value), value) for value in chosen]
    about = [Cell(str(trial.run), trial.run), Cell(state, state, best=trial.best)]
    return Row([*about, *values, *cells])


def picture(record: StudyRecord) -> Picture | None:
    """None where no trial is complete."""
    trials = [trial for trial in record.trials if len(trial.values) == 2]
    if not trials:
        return None
    columns = list(zip(*(trial.values for trial in trials), strict=True))
    (x_low, x_high), (y_low, y_high) = ((min(column), max(column)) for column in columns)
    points = [
        Point(
            MARGIN + (WIDTH - 2 * MARGIN) * _place(trial.values[0], x_low, x_high),
            HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * _place(trial.values[1], y_low, y_high),
            trial.best,
            _about(trial),
        )
        for trial in sorted(trials, key=lambda trial: trial.best)
    ]
    titles = (record.objectives[0].replace("_", " "), record.objectives[1].replace("_", " "))
    return Picture(titles, _percents(x_low, x_high), _percents(y_low, y_high), points)


def _place(value: float, low: float, high: float) -> float:
    """Between 0 and 1; the middle where all values are one."""
    return (value - low) / (high - low) if high > low else 0.5


def _percents(low: float, high: float) -> tuple[str, str]:
    return f"{100 * low:.1f}%", f"{100 * high:.1f}%"


def _about(trial: StudyTrial) -> str:
    reached = " and ".join(f"{100 * value:.2f}%" for value in trial.values)
    chosen = ", ".join(f"{key}={summary.text(value)}" for key, value in trial.parameters.items())
    return f"run {trial.run}: {reached} with {chosen}"
