"""Decoding: each kind of field, and the place of a mistake."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from robustrun.configuration.decoding import decode, number
from robustrun.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "expected"), [("8/255", 8 / 255), (0.5, 0.5), (3, 3.0), ("5e-4", 5e-4), ("2", 2.0)]
)
def test_numbers_may_be_fractions(value: Any, expected: float) -> None:
    assert number(value, "key") == expected


@pytest.mark.parametrize("value", ["abc", "1/0", "nan", "inf", True, None, [1], "", float("inf")])
def test_what_is_not_a_finite_number_is_refused_with_its_key(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"the\.key"):
        number(value, "the.key")


@dataclass(frozen=True)
class Sample:
    count: int
    share: float | None
    word: Literal["a", "b"]
    pair: tuple[float, float]
    table: dict[str, int]


GOOD = {"count": 3, "share": None, "word": "a", "pair": ["1/2", 2], "table": {"x": 1}}


def test_decoding_converts_each_kind() -> None:
    assert decode(Sample, GOOD, "") == Sample(3, None, "a", (0.5, 2.0), {"x": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 2.5}, "count is 2.5"),
        ({"count": "x"}, "count is 'x'"),
        ({"word": "c"}, "word is 'c'"),
        ({"pair": [1]}, "pair is .* a list of 2"),
        ({"pair": [1, "x"]}, r"pair\[1\] is 'x'"),
        ({"table": 3}, "table is 3"),
        ({"table": {"x": "y"}}, r"table\.x is 'y'"),
        ({"extra": 1}, "extra is not a key"),
    ],
)
def test_decoding_names_the_place_of_a_mistake(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decode(Sample, GOOD | change, "")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="word is missing"):
        decode(Sample, {k: v for k, v in GOOD.items() if k != "word"}, "")
