"""`robustrun report`: from the words of the command line to tables and files."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from robustrun import console
from robustrun.errors import RobustrunError
from robustrun.report import (
    collect,
    compare,
    groups,
    page,
    published,
    query,
    robustbench,
    summary,
    tables,
    terminal,
)
from robustrun.report.collect import Found
from robustrun.report.groups import Group
from robustrun.results import write_atomically

DEFAULT_OUTPUT = Path("outputs", "report")
DESCRIPTION = """\
Tables and pictures over every finished run at or below the paths, from one run to a year of
outputs. A table goes to the terminal; summary.csv (a row per run), summary.md and summary.tex (a
row per group of runs that differ in their seed alone: mean and standard deviation, best in bold)
and report.html (one file, readable offline) go to --output. Folders that cannot be read are listed
and skipped."""
EPILOG = """\
A COLUMN is run, status, seconds, audit, clean, worst_case, the name of an attack, or a key of the
configuration (method.beta, or its end alone: beta; method is method.name).

  robustrun report outputs --by method --sort worst_case --where dataset=cifar10
  robustrun report outputs/2026-01-31 --where 'worst_case>=0.5' --where seed=0,1 --html best.html
  robustrun report --compare outputs/A outputs/B
  robustrun report outputs --export robustbench"""


@dataclass(frozen=True)
class Writing:
    """Which files to write; None: not that one."""

    csv: Path | None
    markdown: Path | None
    latex: Path | None
    html: Path | None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="robustrun report",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="*", type=Path, metavar="PATH", help="a run, a sweep, or any folder above")
    add(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only these runs; also !=, <, <=, > and >=, several values with commas; repeatable",
    )
    add("--sort", metavar="COLUMN", help="best accuracy first, anything else from small to large")
    add("--reverse", action="store_true", help="the other way round")
    add(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="one row per value: mean and standard deviation over its runs; repeatable",
    )
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help=f"where the four files go (without this or a single file: {DEFAULT_OUTPUT})",
    )
    add("--csv", type=Path, metavar="FILE", help="write summary.csv here, and only what is named")
    add("--markdown", type=Path, metavar="FILE", help="the same for the Markdown table")
    add("--latex", type=Path, metavar="FILE", help="the same for the LaTeX table (booktabs)")
    add("--html", type=Path, metavar="FILE", help="the same for report.html")
    add(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="two runs: what differs, and whether B is better (McNemar's exact test)",
    )
    add(
        "--export",
        choices=["robustbench"],
        help="write model_info/DATASET/THREAT/NAME.json into --output, for the leaderboard",
    )
    return parser


def command(arguments: list[str]) -> int:
    """`robustrun report PATH ...`"""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.compare:
        if options.paths:
            raise RobustrunError("robustrun report --compare takes two runs, and no other path.")
        terminal.show_comparison(compare.compare(*options.compare))
        return 0
    if not options.paths:
        raise RobustrunError("robustrun report takes the folder of a run, a sweep or any above it.")
    found = query.where(collect.runs(options.paths), options.where)
    if options.where and not any(run.results for run in found):
        raise RobustrunError(f"No run fulfils {' and '.join(options.where)}.")
    if options.export:
        written = robustbench.export(found, options.output or DEFAULT_OUTPUT)
        console.show(*map(str, written))
        return 0
    _report(query.ordered(found, options.sort, options.reverse), options)
    return 0


def _report(found: list[Found], options: argparse.Namespace) -> None:
    made = groups.grouped(found, query.keys_of_groups(found, options.by))
    if options.sort in groups.accuracy_columns(found):  # by their means; else in the runs' order
        made = groups.sort(made, options.sort, options.reverse)
    _show(found, made, grouped=bool(options.by))
    writing = _writing(options)
    for path in _write(found, made, writing):
        console.show(str(path))


def _show(found: list[Found], made: list[Group], grouped: bool) -> None:
    alone = found[0] if len(found) == 1 else None
    if grouped and made:
        console.show(terminal.group_table(found, made))
    elif alone is not None and alone.results and alone.evaluation:
        terminal.show_run(alone.results, alone.folder)
    else:
        console.show(terminal.comparison(found))
    beside = [f"published, not run here: {published.line(e)}" for e in published.beside(found)]
    console.show(*terminal.problems(found), *beside)


def _writing(options: argparse.Namespace) -> Writing:
    named = Writing(options.csv, options.markdown, options.latex, options.html)
    if options.output is None and named != Writing(None, None, None, None):
        return named
    folder = options.output or DEFAULT_OUTPUT
    return Writing(
        options.csv or folder / "summary.csv",
        options.markdown or folder / "summary.md",
        options.latex or folder / "summary.tex",
        options.html or folder / "report.html",
    )


def _write(found: list[Found], made: list[Group], writing: Writing) -> list[Path]:
    paths = [path for path in vars(writing).values() if path is not None]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    if writing.csv is not None:
        summary.write(writing.csv, found, summary.varied(found))
    if writing.markdown is not None:
        write_atomically(writing.markdown, tables.markdown(found, made).encode())
    if writing.latex is not None:
        write_atomically(writing.latex, tables.latex(found, made).encode())
    if writing.html is not None:
        page.write(writing.html, found, made)
    return paths
