"""Heat maps of a sweep over two numbers, as values that the page's template writes down."""

from dataclasses import dataclass
from itertools import product

from robustrun.report import curves, page_tables, summary, tables
from robustrun.report.grouping import Group

MOST_VALUES = 50  # of an axis: draws of a random search are no grid
MAPPED = ("clean", "worst_case")


@dataclass(frozen=True)
class Field:
    """One accuracy of a heat map, in percent, with its words and its shade in [0, 1]."""

    text: str
    title: str
    shade: float
    audit: str


@dataclass(frozen=True)
class HeatMap:
    caption: str
    corner: str  # which key is which axis
    across: list[str]
    rows: list[tuple[str, list[Field | None]]]


def heat_maps(groups: list[Group], most: int) -> tuple[list[HeatMap], int]:
    """Clean and worst-case accuracy over the first two swept numbers, for each of the first `most`
    settings of the other keys; and for how many settings there is no map."""
    numbers = curves.numeric_keys(groups[0].values, groups)[:2] if groups else []
    if len(numbers) < 2:
        return [], 0
    if any(len({group.values[key] for group in groups}) > MOST_VALUES for key in numbers):
        return [], 0
    others: dict[str, list[Group]] = {}
    for group in groups:
        rest = {key: value for key, value in group.values.items() if key not in numbers}
        others.setdefault(Group(rest).title if rest else "", []).append(group)
    maps = [
        _heat_map(title, members, column, numbers)
        for (title, members), column in product(list(others.items())[:most], MAPPED)
    ]
    return maps, max(0, len(others) - most)


def _heat_map(title: str, groups: list[Group], column: str, keys: list[str]) -> HeatMap:
    across, down = (sorted({group.values[key] for group in groups}) for key in keys)
    at = {(group.values[keys[0]], group.values[keys[1]]): group for group in groups}
    words = (column.replace("_", " "), "accuracy (%)", title)
    return HeatMap(
        caption=" ".join(word for word in words if word),
        corner=f"{summary.short(keys[1])} \\ {summary.short(keys[0])}",
        across=[summary.text(x) for x in across],
        rows=[(summary.text(y), [_field(at.get((x, y)), column) for x in across]) for y in down],
    )


def _field(group: Group | None, column: str) -> Field | None:
    spread = group.spread(column) if group else None
    if group is None or spread is None:
        return None
    title = f"{group.title}: {tables.percent(spread)}, {spread.runs} runs"
    audit = page_tables.doubt(column, group.audit)
    return Field(f"{100 * spread.mean:.1f}", title, spread.mean, audit)
