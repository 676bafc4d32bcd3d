"""Grouped runs as Markdown and as LaTeX (booktabs): mean and standard deviation, best in bold."""

from collections.abc import Callable
from dataclasses import dataclass

from robustrun.report import groups, published, summary
from robustrun.report.collect import Found
from robustrun.report.groups import Group, Spread

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
LATEX = Layout(lambda word: word.translate(LATEX_SPECIAL), r"\textbf{{{}}}", r"$\pm$")


def percent(spread: Spread, plus_minus: str = "±") -> str:
    """75.42 ± 0.30, in percent."""
    if spread.deviation is None:
        return f"{100 * spread.mean:.2f}"
    return f"{100 * spread.mean:.2f} {plus_minus} {100 * spread.deviation:.2f}"


def table(found: list[Found], made: list[Group], layout: Layout) -> list[list[str]]:
    """Header, then one row per group: its keys, every accuracy in %, audit, number of runs."""
    keys, columns = list(made[0].values) if made else [], groups.accuracy_columns(found)
    rows = [[*map(summary.short, keys), *(f"{name} (%)" for name in columns), "audit", "runs"]]
    for group in made:
        cells = [summary.text(value) for value in group.values.values()]
        cells = [layout.escape(cell) for cell in cells]
        cells += [_accuracy(group, column, made, layout) for column in columns]
        rows.append([*cells, group.audit or "not made", str(len(group.runs))])
    return [[layout.escape(cell) for cell in rows[0]], *rows[1:]]


def _accuracy(group: Group, column: str, made: list[Group], layout: Layout) -> str:
    spread = group.spread(column)
    if spread is None:
        return "-"
    text = percent(spread, layout.plus_minus)
    if groups.best(group, made, column):
        text = layout.bold.format(text)
    # Clean accuracy is what it is; a failed audit doubts what attacks left standing.
    doubtful = group.audit == "fail" and column != "clean"
    return f"{text} ({AUDIT_FAILS})" if doubtful else text


def markdown(found: list[Found], made: list[Group]) -> str:
    header, *rows = table(found, made, MARKDOWN)
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    notes = [f"- {published.line(entry)}" for entry in published.beside(found)]
    if notes:
        text += "\n\nPublished, not run here:\n\n" + "\n".join(map(MARKDOWN.escape, notes))
    return f"{text}\n\n{NOTE}\n"


NOTE = (
    "Accuracies in %, mean ± standard deviation (n - 1) over the runs of a row; the best of a "
    "column for each data set, norm and radius in bold. Robust accuracy counts examples that are "
    "right on the clean image and under attack."
)


def latex(found: list[Found], made: list[Group]) -> str:
    header, *rows = table(found, made, LATEX)
    keys = len(made[0].values) if made else 0
    columns = "l" * keys + "r" * (len(header) - keys)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(header), r"\midrule"]
    lines += [*map(_latex_row, rows), *_latex_published(found, len(header))]
    note = LATEX.escape(NOTE).replace("±", r"$\pm$")
    head = ["% needs \\usepackage{booktabs}", f"% {note}"]
    return "\n".join([*head, *lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_published(found: list[Found], width: int) -> list[str]:
    entries = [LATEX.escape(published.line(entry)) for entry in published.beside(found)]
    if not entries:
        return []
    titled = [r"\emph{published, not run here}", *entries]
    return [r"\midrule", *(rf"\multicolumn{{{width}}}{{l}}{{{line}}} \\" for line in titled)]
