"""Colours stand for the first key that varies, symbols for the others; numbers keep their order."""

from typing import Any

import pytest

from robustrun.report.encoding import encoding
from robustrun.report.grouping import Group


def groups(*rows: dict[str, Any]) -> list[Group]:
    return [Group(row) for row in rows]


def test_numbers_have_their_order_and_names_that_of_the_rows() -> None:
    made = groups(
        *({"method.name": m, "attack.epsilon": e} for m in ("trades", "awp") for e in (0.3, 0.1))
    )
    scales = encoding(made)
    assert (scales.colour.title, scales.symbol.title) == ("method", "epsilon")
    assert scales.colour.names == ["trades", "awp"]
    assert scales.symbol.names == ["epsilon=0.1", "epsilon=0.3"]
    assert [scales.look(group) for group in made] == [(0, 1), (0, 0), (1, 1), (1, 0)]
    assert (scales.colour.ordered, scales.symbol.ordered) == (False, True)


def test_a_key_of_one_value_is_not_shown_and_one_on_an_axis_neither() -> None:
    made = groups(*({"model.name": "a", "beta": b, "epsilon": e} for b in (6, 1) for e in (1, 2)))
    assert encoding(made).colour.names == ["beta=1", "beta=6"]
    assert encoding(made, "beta").colour.names == ["epsilon=1", "epsilon=2"]
    assert encoding(made, "beta").symbol.title == ""


@pytest.mark.parametrize("values", [(1, None), (1, True), (1, "1"), ("0.1", 2)])
def test_values_that_are_not_all_numbers_are_told_apart_in_their_own_order(values: Any) -> None:
    scales = encoding(groups(*({"key": value} for value in values)))
    assert not scales.colour.ordered
    assert scales.colour.values == tuple((value,) for value in values)


def test_all_further_keys_are_the_symbol() -> None:
    made = groups({"a": 1, "b": 2, "c": 3}, {"a": 2, "b": 2, "c": 4}, {"a": 2, "b": 5, "c": 3})
    scales = encoding(made)
    assert len({scales.look(group) for group in made}) == 3
    assert scales.symbol.keys == ("b", "c")


def test_one_row_needs_no_explanation() -> None:
    for made in ([], groups({"a": 1}), groups({})):
        assert (encoding(made).colour.title, encoding(made).symbol.title) == ("", "")
    assert encoding(groups({"a": 1})).look(Group({"a": 1})) == (0, 0)
