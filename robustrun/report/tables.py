"""Grouped runs as Markdown and as LaTeX (booktabs): mean, standard deviation and 95% interval; the
best, or what ties for it, in bold."""

from collections.abc import Callable
from dataclasses import dataclass

from robustrun.report import grouping, judged, published, summary
from robustrun.report.collect import StoredRun
from robustrun.report.grouping import Group, Spread

LATEX_SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)
AUDIT_FAILS = "audit fails"


@dataclass(frozen=True)
class Layout:
    """How one kind of table writes its parts."""

    escape: Callable[[str], str]
    bold: str
    plus_minus: str


MARKDOWN = Layout(
    lambda word: word.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;"), "**{}**", "±"
)
PLAIN = Layout(str, "{}", "±")
LATEX = Layout(lambda word: word.translate(LATEX_SPECIAL), r"\textbf{{{}}}", r"$\pm$")


def percent(spread: Spread, plus_minus: str = "±") -> str:
    """75.42 ± 0.30 (71.0, 79.3) in percent: mean, standard deviation, interval; no deviation of one
    run."""
    deviation = "" if spread.deviation is None else f" {plus_minus} {100 * spread.deviation:.2f}"
    return f"{100 * spread.mean:.2f}{deviation} {interval(spread.low, spread.high)}"


def interval(low: float, high: float) -> str:
    """(71.0, 79.3) in percent, with a space at which a narrow table may break the line."""
    return f"({100 * low:.1f}, {100 * high:.1f})"


def table(
    runs: list[StoredRun], groups: list[Group], layout: Layout, most: int | None = None
) -> list[list[str]]:
    """Header, then one row for each of the first `most` groups (None: of all): its keys, every
    accuracy in %, what audits say if there are any, number of runs."""
    keys, columns = list(groups[0].values) if groups else [], grouping.accuracy_columns(runs)
    audited, tops = any(group.audit for group in groups), grouping.highest(groups, columns)
    last = ["audit", "runs"] if audited else ["runs"]
    rows = [[*summary.heads(keys), *(f"{name} (%)" for name in columns), *last]]
    for group in groups[:most]:
        cells = [summary.text(value) for value in group.values.values()]
        cells = [layout.escape(cell) for cell in cells]
        cells += [_accuracy(group, column, tops, layout) for column in columns]
        verdict = [group.audit or "not made"] if audited else []
        rows.append([*cells, *verdict, str(len(group.runs))])
    return [[layout.escape(cell) for cell in rows[0]], *rows[1:]]


def _accuracy(group: Group, column: str, tops: grouping.Highest, layout: Layout) -> str:
    spread = group.spread(column)
    if spread is None:
        return "-"
    text = percent(spread, layout.plus_minus)
    if grouping.best(group, column, tops):
        text = layout.bold.format(text)
    # Clean accuracy is what it is; a failed audit doubts what attacks left standing.
    doubtful = group.audit == "fail" and column != "clean"
    return f"{text} ({AUDIT_FAILS})" if doubtful else text


def markdown(runs: list[StoredRun], groups: list[Group]) -> str:
    header, *rows = table(runs, groups, MARKDOWN)
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    notes = [f"- {line}" for line in published.lines(runs)]
    if notes:
        text += "\n\nPublished, not run here:\n\n" + "\n".join(map(MARKDOWN.escape, notes))
    return f"{MARKDOWN.escape(judged.common(runs))}\n\n{text}\n\n{MARKDOWN.escape(note(groups))}\n"


def note(groups: list[Group]) -> str:
    """What a reader of a table of these groups must know."""
    several = any(len(group.runs) > 1 for group in groups)
    return " ".join([*(OF_SEVERAL if several else OF_ONE), *grouping.notes(groups), BOLD, ROBUST])


OF_ONE = (
    "Accuracies in %, with 95% intervals over images (Wilson); one run a row: they speak of that "
    "network, not of its method.",
)
OF_SEVERAL = (
    "Accuracies in %: mean ± standard deviation (n - 1) over the runs of a row, and in brackets "
    "the 95% interval of the mean over seeds and images; of one run, its interval over images.",
)
BOLD = (
    "Bold: the best of the rows with the same data and attacks, and what ties with it (their "
    "difference is within its 95% interval)."
)
ROBUST = "Robust accuracy counts examples that are right on the clean image and under attack."


def latex(runs: list[StoredRun], groups: list[Group]) -> str:
    header, *rows = table(runs, groups, LATEX)
    keys = len(groups[0].values) if groups else 0
    columns = "l" * keys + "r" * (len(header) - keys)
    title = _latex_line(LATEX.escape(judged.common(runs)), len(header))
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", title, r"\midrule"]
    lines += [_latex_row(header), r"\midrule"]
    lines += [*map(_latex_row, rows), *_latex_published(runs, len(header))]
    about = " ".join(note(groups).split())  # a line break would end the comment
    head = ["% needs \\usepackage{booktabs}", f"% {about}"]
    return "\n".join([*head, *lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_published(runs: list[StoredRun], width: int) -> list[str]:
    entries = [LATEX.escape(line) for line in published.lines(runs)]
    if not entries:
        return []
    titled = [r"\emph{published, not run here}", *entries]
    return [r"\midrule", *(_latex_line(line, width) for line in titled)]


def _latex_line(text: str, width: int) -> str:
    return rf"\multicolumn{{{width}}}{{l}}{{{text}}} \\"
