"""report.html: every run in one file that needs no network, from tables to charts to images.

The page forbids itself every request (Content-Security-Policy), and what came from a run is text:
escaped by the template, and put in by the script as text. plotly.js (the basic bundle, MIT) draws.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from robustrun.evaluation.statistics import wilson
from robustrun.report import (
    collect,
    curves,
    encoding,
    excerpt,
    grouping,
    heat_maps,
    judged,
    page_tables,
    pictures,
    published,
    search_section,
    summary,
    tables,
)
from robustrun.report.collect import StoredRun
from robustrun.report.grouping import Group
from robustrun.storage.files import write_atomically

ASSETS = Path(__file__).with_name("assets")
LARGEST = 2_800_000  # bytes of the file: images are added until it is reached
MOST_GROUPS = 500  # rows of the first table, and points of the charts
MOST_RUNS = 1500  # rows of the second table, and lines of the charts; summary.csv has all
MOST_PROBLEMS = 100  # folders that could not be read
MOST_IMAGES = 60
MOST_MAPS = 6  # settings of what is not on an axis of a heat map
AROUND = 300  # bytes, at least, that the template writes around an image


def write(path: Path, runs: list[StoredRun], groups: list[Group]) -> None:
    """The page of these runs, grouped as `groups` has them; links are relative to the page. Of more
    than it can show, it has the best, and says so."""
    shown = excerpt.of_groups(groups, MOST_GROUPS)
    shown_runs = excerpt.of_runs(runs, shown, MOST_RUNS)
    about = _about(runs, groups, shown) | _tables(runs, groups, shown, shown_runs, path.parent)
    about |= _assets(shown_runs, shown)
    bare = _template().render(about, pictures=pictures.Pictures([], [], 0))
    room = LARGEST - len(bare.encode()) - MOST_IMAGES * AROUND
    chosen = pictures.choose(runs, groups, room, MOST_IMAGES)
    write_atomically(path, _template().render(about, pictures=chosen).encode())


def write_sweep(sweep: Path, folders: list[Path]) -> None:
    """The page of a sweep's runs, beside them."""
    runs = collect.read_all(folders)
    keys = summary.besides_seed(runs)
    write(sweep / "report.html", runs, grouping.grouped(runs, keys))


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _about(runs: list[StoredRun], groups: list[Group], shown: list[Group]) -> dict[str, Any]:
    """What is said of the runs as a whole."""
    measured = sum(run.evaluation is not None for run in runs)
    problems = [run for run in runs if run.problem]
    return {
        "about": f"{len(runs)} runs, {measured} of them measured",
        "version": version("robustrun"),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "common": judged.common(runs),
        "several": any(len(group.runs) > 1 for group in groups),
        "audited": any(group.audit for group in groups),
        "note": tables.note(groups),
        "published": [*published.lines(runs), *dict.fromkeys(_named_by_runs(runs))],
        "problems": problems[:MOST_PROBLEMS],
        "more_problems": len(problems) - MOST_PROBLEMS,
        "class_size": _class_size(runs),
        "encoding": encoding.encoding(shown),
    }


def _tables(
    runs: list[StoredRun],
    groups: list[Group],
    shown: list[Group],
    shown_runs: list[StoredRun],
    beside: Path,
) -> dict[str, Any]:
    maps, without = heat_maps.heat_maps(groups, MOST_MAPS)
    return {
        "marks": page_tables.MARKS,
        "verdicts": page_tables.VERDICTS,
        "groups": page_tables.of_groups(runs, groups, shown),
        "all_groups": len(groups),
        "runs": page_tables.of_runs(runs, shown_runs, beside),
        "more_runs": len(runs) - len(shown_runs),
        "heat_maps": maps,
        "without_map": without,
        "searches": search_section.sections(run.folder for run in runs),
    }


def _assets(runs: list[StoredRun], groups: list[Group]) -> dict[str, Any]:
    """What the page carries beside its text: our own files are markup, runs' data is packed."""

    def asset(name: str) -> str:
        return (ASSETS / name).read_text(encoding="utf-8")

    return {
        "style": Markup(asset("page.css")),
        "script": Markup(asset("page.js")),
        "plotly": _packed(asset("plotly-basic.min.js")),
        "licence": asset("plotly-LICENSE.txt").replace("--", "- -"),  # which would end a comment
        "data": _packed(json.dumps(curves.data(runs, groups), allow_nan=False, default=str)),
    }


def _packed(text: str) -> str:
    """gzip in base64: a third of the size, and nothing in it can end a script element."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _class_size(runs: list[StoredRun]) -> dict[str, float] | None:
    """How uncertain the accuracy of one class is, where the classes are of one size."""
    sizes = [
        run.evaluation.clean.total / len(run.record.dataset.class_names)
        for run in runs
        if run.evaluation and run.record and run.record.dataset and run.record.dataset.class_names
    ]
    if not sizes:
        return None
    size = min(sizes)
    return {"images": size, "points": 100 * (wilson(size / 2, size)[1] - 0.5)}


def _named_by_runs(runs: list[StoredRun]) -> Iterator[str]:
    """The numbers that an experiment's configuration carries, or a checkpoint's publisher."""
    for run in runs:
        for entry in (run.record.config.get("published") or []) if run.record else []:
            if isinstance(entry, dict) and isinstance(entry.get("accuracy"), float):
                subject = run.settings.get("method.name")
                number = f"{entry.get('attack')} {100 * entry['accuracy']:.2f}"
                yield f"{subject}: {number} ({entry.get('source')})"
        for entry in run.record.model.published if run.record and run.record.model else ():
            yield f"{entry.attack} {100 * entry.accuracy:.2f} ({entry.source})"
