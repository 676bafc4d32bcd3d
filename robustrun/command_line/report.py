"""`robustrun report`: from the words of the command line to tables and files."""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from robustrun import console
from robustrun.command_line import process
from robustrun.command_line.parser import CommandParser
from robustrun.errors import DataError, RobustrunError
from robustrun.report import (
    collect,
    compare,
    grouping,
    judged,
    methods,
    page,
    published,
    query,
    robustbench,
    summary,
    tables,
    terminal,
)
from robustrun.report.collect import StoredRun
from robustrun.report.grouping import Group
from robustrun.run_folder.folder import RESULTS
from robustrun.run_folder.schema import read_record
from robustrun.storage.files import write_atomically

DEFAULT_OUTPUT = Path("outputs", "report")
DESCRIPTION = """\
Tables and pictures over every finished run at or below the paths, from one run to a year of
outputs. A table goes to the terminal; summary.csv (a row per run), summary.md and summary.tex (a
row per group of runs that differ in their seed alone: mean, standard deviation and 95% interval)
and report.html (one file, readable offline) go to --output. Folders that cannot be read are listed
and skipped."""
EPILOG = """\
Runs of other data, test images, norms, radii or attacks are never averaged together. summary.csv
holds fractions, as results.json does; all else is in percent.

A COLUMN is run, status, seconds, audit, clean, worst_case, the name of an attack, or a key of the
configuration (method.beta, or its end alone: beta; method is method.name).

Examples
  robustrun report outputs --by method --sort worst_case --where dataset=cifar10
  robustrun report outputs/2026-01-31 --where 'worst_case>=0.5' --where seed=0,1 --html best.html
  robustrun report --compare outputs/A outputs/B
  robustrun report outputs/SWEEP --compare method=standard method=trades --where epsilon=0.1
  robustrun report outputs --export robustbench"""


@dataclass(frozen=True)
class Writing:
    """Which files to write; None: not that one."""

    csv: Path | None
    markdown: Path | None
    latex: Path | None
    html: Path | None


def parser() -> CommandParser:
    parser = CommandParser("report", DESCRIPTION, EPILOG)
    several = "a run, a sweep, or any folder above"
    parser.add_argument("paths", nargs="*", default=[], type=Path, metavar="PATH", help=several)
    _add_selection(parser)
    _add_files(parser)
    _add_other_ends(parser)
    return parser


def _add_selection(parser: CommandParser) -> None:
    """Which runs, in which order, in which groups."""
    several = partial(parser.add_argument, action="append", default=[])
    several(
        "--where",
        metavar="COLUMN=VALUE",
        help="only these runs; also !=, <, <=, > and >=, several values with commas; repeatable",
    )
    parser.add_argument(
        "--sort", metavar="COLUMN", help="best accuracy first, anything else from small to large"
    )
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    several(
        "--by",
        metavar="COLUMN",
        help="one row per value (and test images, norm, radius): mean over its runs; repeatable",
    )


def _add_files(parser: CommandParser) -> None:
    """Where files go."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help=f"where the four files go (without this or a single file: {DEFAULT_OUTPUT})",
    )
    file = partial(parser.add_argument, type=Path, metavar="FILE")
    file("--csv", help="write summary.csv here, and only what is named")
    file("--markdown", help="the same for the Markdown table")
    file("--latex", help="the same for the LaTeX table (booktabs)")
    file("--html", help="the same for report.html")


def _add_other_ends(parser: CommandParser) -> None:
    """What is done in the place of a report."""
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="is B better? two runs: these networks (McNemar's exact test); two folders of several "
        "seeds, or with PATH two conditions (method=trades): these methods, with an interval",
    )
    parser.add_argument(
        "--export",
        choices=["robustbench"],
        help="write model_info/DATASET/THREAT/NAME.json into --output, for the leaderboard",
    )


def command(arguments: list[str]) -> int:
    """`robustrun report PATH ...`"""
    options = parser().read(arguments)
    process.log_to_terminal()
    if options.compare:
        _compare(options)
        return 0
    if not options.paths:
        parser().error("robustrun report takes the folder of a run, a sweep, or any folder above")
    with console.step("reading the runs"):
        all_runs = collect.find_runs(options.paths)
    runs = query.where(all_runs, options.where)
    if options.where and not any(run.record for run in runs):
        raise RobustrunError(f"No run fulfils {' and '.join(options.where)}.")
    if options.export:
        written = robustbench.export(runs, options.output or DEFAULT_OUTPUT)
        console.show(*map(str, written))
        return 0
    _report(query.ordered(runs, options.sort, options.reverse), all_runs, options)
    return 0


def _compare(options: argparse.Namespace) -> None:
    """Two networks where either side is one run, else two methods."""
    runs = collect.find_runs(options.paths) if options.paths else []
    a, b = (_side(word, runs, options) for word in options.compare)
    if len(a) == len(b) == 1:
        terminal.show_comparison(compare.of_networks(a[0], b[0]))
    else:
        terminal.show_methods(methods.compare_methods(a, b))


def _side(word: str, runs: list[StoredRun], options: argparse.Namespace) -> list[StoredRun]:
    """The measured runs of A or of B: what is at a path, or which of `runs` fulfil a condition."""
    if options.paths and Path(word).is_dir():
        raise DataError(
            f"--compare {word}: it is a folder, and with {options.paths[0]} first a condition is "
            "expected (method=trades). Two folders are compared without it: robustrun report "
            "--compare A B."
        )
    if options.paths:
        all_runs = query.where(runs, [word], "--compare")
    elif not Path(word).is_dir():
        raise DataError(
            f"--compare {word}: there is no such folder. Name the folders of two runs or sweeps, "
            "or the runs of one: robustrun report SWEEP --compare method=standard method=trades."
        )
    else:
        single = (Path(word) / RESULTS).is_file()
        all_runs = [collect.read(Path(word))] if single else collect.find_runs([Path(word)])
    all_runs = query.where(all_runs, options.where)
    measured = [run for run in all_runs if run.evaluation is not None]
    console.show(*terminal.problems(all_runs))
    if not measured:
        why = next((run.problem for run in all_runs if run.problem), "")
        raise DataError(f"--compare {word}: no finished evaluation to compare. {why}".rstrip())
    return measured


def _report(runs: list[StoredRun], all_runs: list[StoredRun], options: argparse.Namespace) -> None:
    keys = query.keys_of_groups(runs, options.by)
    groups = grouping.grouped(runs, keys)
    if options.sort in grouping.accuracy_columns(runs):  # by their means; else in the runs' order
        groups = grouping.sort(groups, options.sort, options.reverse)
    writing = _writing(options)
    _show(runs, groups, bool(options.by), writing)
    if writing.csv is not None:
        named = [key for key in keys if options.by and any(key in run.settings for run in all_runs)]
        writing.csv.parent.mkdir(parents=True, exist_ok=True)
        summary.write(writing.csv, runs, named, all_runs)
    with console.step("writing the report"):
        paths = _write(runs, groups, writing)
    for path in paths:
        console.show(str(path))


def _show(runs: list[StoredRun], groups: list[Group], grouped: bool, writing: Writing) -> None:
    alone = runs[0] if len(runs) == 1 else None
    if grouped and groups:
        where = _where(writing.markdown, "--markdown")
        more = terminal.left_out(len(groups), "rows", where)
        table = terminal.group_table(runs, groups)
        console.show(judged.common(runs), table, *more, *grouping.notes(groups))
    elif alone is not None and alone.evaluation:
        terminal.show_run(read_record(alone.folder))
    else:
        more = terminal.left_out(len(runs), "runs", _where(writing.csv, "--csv"))
        console.show(judged.common(runs), terminal.comparison(runs), *more)
    beside = [f"published, not run here: {line}" for line in published.lines(runs)]
    console.show(*terminal.problems(runs), *beside)


def _where(path: Path | None, option: str) -> str:
    """Where rows are that a table on the terminal has no room for."""
    return f"{option} FILE writes them" if path is None else f"{path} has them"


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


def _write(runs: list[StoredRun], groups: list[Group], writing: Writing) -> list[Path]:
    paths = [path for path in vars(writing).values() if path is not None]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    if writing.markdown is not None:
        write_atomically(writing.markdown, tables.markdown(runs, groups).encode())
    if writing.latex is not None:
        write_atomically(writing.latex, tables.latex(runs, groups).encode())
    if writing.html is not None:
        page.write(writing.html, runs, groups)
    return paths
