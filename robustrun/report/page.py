"""report.html: every run in one file that needs no network, from tables to charts to images.

The page forbids itself every request (Content-Security-Policy), and what came from a run is text:
escaped in the tables, and put in by the script as text. plotly.js (the basic bundle, MIT) draws.
"""

import base64
import gzip
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from itertools import product
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from PIL import Image

from robustrun.evaluation import wilson
from robustrun.files import write_atomically
from robustrun.report import collect, curves, grouping, judged, published, summary, tables
from robustrun.report.collect import StoredRun
from robustrun.report.grouping import Group

ASSETS = Path(__file__).with_name("assets")
LARGEST = 2_800_000  # bytes of the file: images are added until it is reached
MOST_ROWS = 1500  # of the table; what is beyond is in summary.csv
MOST_IMAGES = 60
MOST_MAPS = 6  # settings of what is not on an axis of a heat map
MAPPED = ("clean", "worst_case")
IMAGE_WIDTH = 900  # pixels
MARKS = {"pass": "✓", "warn": "!", "fail": "✗", "": "-"}
SAYS = {
    "pass": "the audit passes",
    "warn": "the audit warns",
    "fail": "the audit fails: not to be believed",
    "": "not audited",
}


def write(path: Path, runs: list[StoredRun], groups: list[Group]) -> None:
    """The page of these runs, grouped as `groups` has them; links are relative to the page."""
    text = _without_images(runs, groups, path.parent)
    room = LARGEST - len(text.encode())
    write_atomically(path, text.replace(IMAGES, _images(runs, groups, room), 1).encode())


def write_sweep(sweep: Path, folders: list[Path]) -> None:
    """The page of a sweep's runs, beside them."""
    runs = [collect.read(folder) for folder in folders]
    keys = summary.besides_seed(runs)
    write(sweep / "report.html", runs, grouping.grouped(runs, keys))


IMAGES = "<!-- images -->"


def _without_images(runs: list[StoredRun], groups: list[Group], beside: Path) -> str:
    def asset(name: str) -> str:
        return (ASSETS / name).read_text(encoding="utf-8")

    done = sum(run.evaluation is not None for run in runs)
    about = f"{len(runs)} runs, {done} of them measured"
    several = any(len(group.runs) > 1 for group in groups)
    return Template(asset("page.html")).substitute(
        style=asset("page.css"),
        script=asset("page.js"),
        plotly=_packed(asset("plotly-basic.min.js")),
        licence=escape(asset("plotly-LICENSE.txt").replace("--", "- -")),
        data=_packed(json.dumps(curves.data(runs, groups), allow_nan=False, default=str)),
        about=f"{about}; robustrun {version('robustrun')}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        common=escape(judged.common(runs)),
        means="Mean ± standard deviation (95% interval)" if several else "Accuracy (95% interval)",
        note=escape(tables.note(groups)),
        groups=_groups(runs, groups),
        runs=_runs(runs, beside),
        heat=_heat_maps(groups),
        published=_published(runs),
        problems=_problems(runs),
        classes=_classes(runs),
        images=IMAGES,
    )


def _packed(text: str) -> str:
    """gzip in base64: a third of the size, and nothing in it can end a script element."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _groups(runs: list[StoredRun], groups: list[Group]) -> str:
    """Means over the runs that differ in their seed alone."""
    keys, columns = [*groups[0].values] if groups else [], grouping.accuracy_columns(runs)
    head = [*summary.heads(keys), *(f"{name} (%)" for name in columns), "runs"]
    rows = []
    for group in groups:
        cells = [_cell(summary.text(value), value) for value in group.values.values()]
        cells += [_group_cell(group, column, groups) for column in columns]
        rows.append([*cells, _cell(str(len(group.runs)), len(group.runs))])
    return _table("groups", head, rows)


def _group_cell(group: Group, column: str, groups: list[Group]) -> str:
    spread = group.spread(column)
    if spread is None:
        return _cell("-", None)
    text = escape(tables.percent(spread))
    if grouping.best(group, groups, column):
        text = f"<strong>{text}</strong>"
    return _cell(text + _mark(column, group.audit), spread.mean, escaped=True)


def _runs(runs: list[StoredRun], beside: Path) -> str:
    keys, columns = summary.distinguishing_keys(runs), grouping.accuracy_columns(runs)
    head = ["run", "status", *summary.heads(keys), *(f"{c} (%)" for c in columns), "seconds"]
    rows = [_run(run, place, keys, columns, beside) for place, run in enumerate(runs[:MOST_ROWS])]
    more = len(runs) - MOST_ROWS
    note = (
        f"<p>{more} further runs are left out here; summary.csv has them.</p>" if more > 0 else ""
    )
    return _table("runs", head, rows) + note


def _run(
    run: StoredRun, place: int, keys: list[str], columns: list[str], beside: Path
) -> list[str]:
    row = summary.row(run, keys)
    link = quote(os.path.relpath(run.folder, beside.resolve()).replace(os.sep, "/")) + "/"
    name = f'<a href="{escape(link)}">{escape(run.name)}</a>'
    if run.results is not None:
        name += f' <button class="more" data-run="{place}" title="details">details</button>'
    bounds = summary.intervals(run)
    seconds = row.get("seconds")
    return [
        _cell(name, run.name, escaped=True),
        _cell(row["status"], row["status"]),
        *(_cell(summary.text(row.get(key)), row.get(key)) for key in keys),
        *(_accuracy(row, column, bounds.get(column)) for column in columns),
        _cell("-" if seconds is None else f"{seconds:.1f}", seconds),
    ]


def _accuracy(row: dict[str, Any], column: str, bounds: tuple[float, float] | None) -> str:
    if column not in row or bounds is None:
        return _cell("-", None)
    text = f"{100 * row[column]:.2f} {tables.interval(*bounds)}"
    return _cell(text + _mark(column, row.get("audit", "")), row[column], escaped=True)


def _mark(column: str, audit: str) -> str:
    """The audit's verdict beside a number that it is about."""
    if column == "clean":
        return ""
    return f' <span class="audit {audit or "none"}" title="{SAYS[audit]}">{MARKS[audit]}</span>'


def _cell(text: str, value: Any, title: str = "", escaped: bool = False) -> str:
    shown = text if escaped else escape(text)
    hint = f' title="{escape(title)}"' if title else ""
    key = "" if value is None else escape(str(value))
    return f'<td data-value="{key}"{hint}>{shown}</td>'


def _table(name: str, head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f'<th scope="col"><button>{escape(word)}</button></th>' for word in head)
    body = "\n".join(f'<tr data-row="{n}">{"".join(row)}</tr>' for n, row in enumerate(rows))
    return (
        f'<div class="wide"><table id="{name}"><thead><tr>{cells}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _heat_maps(groups: list[Group]) -> str:
    """Clean and worst-case accuracy over the first two swept numbers, for each of the others."""
    numbers = curves.numeric_keys(groups[0].values, groups)[:2] if groups else []
    if len(numbers) < 2:
        return ""
    others: dict[str, list[Group]] = {}
    for group in groups:
        rest = {key: value for key, value in group.values.items() if key not in numbers}
        others.setdefault(Group(rest).title if rest else "", []).append(group)
    maps = [
        _heat_map(title, there, column, numbers)
        for (title, there), column in product(list(others.items())[:MOST_MAPS], MAPPED)
    ]
    more = f"<p>Without maps: {len(others) - MOST_MAPS} further settings; the table has them.</p>"
    return f'<div class="maps">{"".join(maps)}</div>{more if len(others) > MOST_MAPS else ""}'


def _heat_map(title: str, groups: list[Group], column: str, keys: list[str]) -> str:
    across, down = (sorted({group.values[key] for group in groups}) for key in keys)
    at = {(group.values[keys[0]], group.values[keys[1]]): group for group in groups}
    corner = f"{summary.short(keys[1])} \\ {summary.short(keys[0])}"
    head = "".join(f"<th>{escape(summary.text(x))}</th>" for x in across)
    rows = "".join(
        f"<tr><th>{escape(summary.text(y))}</th>"
        + "".join(_heat(at.get((x, y)), column) for x in across)
        + "</tr>"
        for y in down
    )
    name = " ".join(word for word in (column.replace("_", " "), "accuracy (%)", title) if word)
    caption = f"<caption>{escape(name)}</caption>"
    return f'<table class="heat">{caption}<tr><th>{escape(corner)}</th>{head}</tr>{rows}</table>'


def _heat(group: Group | None, column: str) -> str:
    spread = group.spread(column) if group else None
    if group is None or spread is None:
        return "<td>-</td>"
    title = f"{group.title}: {tables.percent(spread)}, {spread.runs} runs"
    shade = f"background: rgba(0, 114, 178, {0.75 * spread.mean:.2f})"
    mark = _mark(column, group.audit)
    return f'<td style="{shade}" title="{escape(title)}">{100 * spread.mean:.1f}{mark}</td>'


def _classes(runs: list[StoredRun]) -> str:
    """How uncertain the accuracy of one class is, where the classes are of one size."""
    sizes = [
        run.evaluation["clean"]["total"] / len(run.results["dataset"]["class_names"])
        for run in runs
        if run.results and run.evaluation and run.results["dataset"].get("class_names")
    ]
    if not sizes:
        return ""
    size = min(sizes)
    half = 100 * (wilson(size / 2, size)[1] - 0.5)
    return (
        f"About {size:.0f} images a class: a 95% interval reaches {half:.0f} points to each side."
    )


def _published(runs: list[StoredRun]) -> str:
    rows = [*published.lines(runs), *dict.fromkeys(_named_by_runs(runs))]
    if not rows:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in rows)
    return f"<h2>Published, not run here</h2><ul>{items}</ul>"


def _named_by_runs(runs: list[StoredRun]) -> Iterator[str]:
    """The numbers that an experiment's configuration carries."""
    for run in runs:
        for entry in run.results["config"]["published"] if run.results else []:
            if isinstance(entry, dict) and isinstance(entry.get("accuracy"), float):
                subject = run.settings.get("method.name")
                number = f"{entry.get('attack')} {100 * entry['accuracy']:.2f}"
                yield f"{subject}: {number} ({entry.get('source')})"


def _problems(runs: list[StoredRun]) -> str:
    wrong = [run for run in runs if run.problem]
    if not wrong:
        return ""
    items = "".join(f"<li>{escape(run.name)}: {escape(run.problem)}</li>" for run in wrong)
    return f"<h2>Folders that could not be read</h2><ul>{items}</ul>"


def _images(runs: list[StoredRun], groups: list[Group], room: int) -> str:
    """Grids of clean image, change and attacked image, as long as there is room: one run of each
    group first."""
    measured = {run.folder: run for run in runs if run.evaluation is not None}
    first = {group.runs[0].folder: group.runs[0] for group in groups}
    shown: list[str] = []
    without: list[str] = []  # names of runs whose picture is missing or damaged
    tried = 0
    for run in (first | measured).values():
        figure = _figure(run)
        tried += 1
        if figure is None:
            without.append(run.name)
            continue
        room -= len(figure)
        if room < 0 or len(shown) == MOST_IMAGES:
            tried -= 1
            break
        shown.append(figure)
    if not shown:
        return "<p>No run has images to show.</p>"
    more = len(measured) - tried
    shown[0] = shown[0].replace("<details ", "<details open ", 1)
    if without:
        shown.append(f"<p>No picture could be read of: {escape(', '.join(without))}.</p>")
    return "".join(shown) + (f"<p>{more} more are in their runs' figures.</p>" if more else "")


def _figure(run: StoredRun) -> str | None:
    picture = _smaller(run.folder / "figures" / "adversarial_images.png")
    if picture is None:
        return None
    source = f"data:image/webp;base64,{base64.b64encode(picture).decode()}"
    caption = f"{run.name}: {run.settings.get('method.name')}, {SAYS[summary.verdict(run)]}"
    return (
        f'<details class="image"><summary>{escape(caption)}</summary><img src="{source}" '
        f'loading="lazy" alt="clean, change and attacked images of {escape(run.name)}"></details>'
    )


def _smaller(path: Path) -> bytes | None:
    try:
        with Image.open(path) as picture:
            shown = picture.convert("RGB")
            shown.thumbnail((IMAGE_WIDTH, IMAGE_WIDTH))
            buffer = io.BytesIO()
            shown.save(buffer, "webp", quality=80)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return buffer.getvalue()
