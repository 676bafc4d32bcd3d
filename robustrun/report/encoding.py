"""What the colours and symbols of charts stand for: the keys in which groups of runs differ."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from robustrun.report import summary
from robustrun.report.grouping import Group

Values = tuple[Any, ...]


@dataclass(frozen=True)
class Scale:
    """A place for each combination of values that some keys take; numbers in their order."""

    keys: tuple[str, ...]
    values: tuple[Values, ...]
    ordered: bool  # all values are numbers

    @property
    def title(self) -> str:
        """The keys as a chart names them; empty if there is nothing to tell apart."""
        return ", ".join(summary.heads(self.keys)) if len(self.values) > 1 else ""

    @property
    def names(self) -> list[str]:
        return [Group(dict(zip(self.keys, values, strict=True))).title for values in self.values]

    def place(self, group: Group) -> int:
        return self._places[repr(_values(group, self.keys))]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {repr(values): place for place, values in enumerate(self.values)}


@dataclass(frozen=True)
class Encoding:
    """Colour: the first key that takes several values; symbol (and dash): all the others."""

    colour: Scale
    symbol: Scale

    def look(self, group: Group) -> tuple[int, int]:
        """A group's places on the two scales."""
        return self.colour.place(group), self.symbol.place(group)


def encoding(groups: list[Group], skipped: str = "") -> Encoding:
    """Of the keys that these groups differ in; `skipped` is shown otherwise, on an axis."""
    keys = [*groups[0].values] if groups else []
    keys = [key for key in keys if key != skipped and _several(groups, key)]
    return Encoding(_scale(groups, tuple(keys[:1])), _scale(groups, tuple(keys[1:])))


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _several(groups: list[Group], key: str) -> bool:
    return len({repr(group.values[key]) for group in groups}) > 1


def _scale(groups: list[Group], keys: tuple[str, ...]) -> Scale:
    values = [*{repr(v): v for group in groups for v in [_values(group, keys)]}.values()]
    ordered = bool(keys) and all(is_number(value) for row in values for value in row)
    return Scale(keys, tuple(sorted(values) if ordered else values), ordered)


def _values(group: Group, keys: tuple[str, ...]) -> Values:
    return tuple(group.values[key] for key in keys)
