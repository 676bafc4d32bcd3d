"""Values of YAML as the types that a class declares, and the types that nothing can be read as."""

from __future__ import annotations

import dataclasses
import enum
import pathlib
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Optional, Union

import pytest
import torch

from robustrun.configuration.decoding import decode, dump, number
from robustrun.errors import ConfigError
from robustrun.types import METHODS, Attack


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("8/255", 8 / 255),
        ("0.5/255", 0.5 / 255),
        (0.5, 0.5),
        (3, 3.0),
        ("5e-4", 5e-4),
        ("2", 2.0),
    ],
)
def test_numbers_may_be_fractions(value: Any, expected: float) -> None:
    assert number(value, "key") == expected


@pytest.mark.parametrize(
    "value", ["abc", "1/0", "1/2/3", "1/", "/2", "nan", "inf", True, None, [1], "", float("inf")]
)
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


# --- the types of fields -------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Inner:
    steps: int


READ = [
    ("list[float]", ["1/4", 2], [0.25, 2.0]),
    ("list[int]", [], []),
    ("list[list[float]]", [["1/2"], []], [[0.5], []]),
    ("tuple[float, ...]", ["1/4", 2], (0.25, 2.0)),
    ("tuple[int, str]", [3, "a"], (3, "a")),
    ("dict[str, float]", {"a": "8/255", "b": 1}, {"a": 8 / 255, "b": 1.0}),
    ("dict[str, list[int]]", {"a": [1]}, {"a": [1]}),
    ("list[dict[str, bool]]", [{"a": True}], [{"a": True}]),
    ("float | str", "1/2", 0.5),
    ("float | str", "auto", "auto"),
    ("Union[int, Literal['auto'], None]", "auto", "auto"),
    ("Union[int, Literal['auto'], None]", None, None),
    ("Optional[list[float]]", None, None),
    ("list[float] | float", 3, 3.0),
    ("list[float] | float", [3], [3.0]),
    ("Any", {"a": ["1/2", None]}, {"a": ["1/2", None]}),
    ("dict[str, Any]", {"a": "1/2"}, {"a": "1/2"}),
    ("list", ["1/2", 3], ["1/2", 3]),
    ("dict", {"a": 3}, {"a": 3}),
    ("Inner", {"steps": 3}, Inner(3)),
    ("list[Inner]", [{"steps": 3}], [Inner(3)]),
]


def with_field(kind: str) -> Any:
    """A class whose one field is declared as in a plugin's source."""
    made = dataclasses.make_dataclass("Mine", [("value", kind)], frozen=True)
    made.__module__ = __name__
    return made


@pytest.mark.parametrize(("kind", "value", "right"), READ, ids=[f"{r[0]} {r[1]}" for r in READ])
def test_a_value_is_read_as_its_type_says_and_survives_its_own_dump(
    kind: str, value: Any, right: Any
) -> None:
    made = decode(with_field(kind), {"value": value}, "method")
    assert made.value == right
    assert type(made.value) is type(right)
    assert decode(type(made), dump(made), "method") == made


@pytest.mark.parametrize(
    ("kind", "value", "place"),
    [
        ("list[float]", ["1/4", "x"], r"method\.value\[1\] is 'x'"),
        ("list[float]", 3, r"method\.value is 3, but must be a list"),
        ("dict[str, float]", {"a": "x"}, r"method\.value\.a is 'x'"),
        ("list[Inner]", [{"steps": 3}, {"stops": 3}], r"method\.value\[1\]\.stops is not a key"),
    ],
)
def test_a_wrong_part_of_a_list_or_block_is_named_with_its_place(
    kind: str, value: Any, place: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{place}"):
        decode(with_field(kind), {"value": value}, "method")


UNREADABLE = [
    "complex",
    "set[int]",
    "list[complex]",
    "dict[int, float]",
    "dict[str, pathlib.Path]",
    "pathlib.Path",
    "pathlib.Path | None",
    "Sequence[float]",
    "Callable[[float], float]",
    "Colour",
    "tuple",
    "typing.List",
    "typing.Dict",
    "torch.Tensor",
    "torch.dtype",
    "typing.Literal['a'] | set[int]",
]


@pytest.mark.parametrize("value", [1, None, "a", [1], {"a": 1}])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_type_that_nothing_is_read_as_is_named_with_those_that_are(kind: str, value: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        decode(with_field(kind), {"value": value}, "method")
    said = str(raised.value)
    assert said.startswith("method.value: Mine declares it as ")
    for word in ("cannot be read from YAML", "list[X]", "tuple[X, ...]", "dict[str, X]"):
        assert word in said


def test_the_types_of_the_message_are_read() -> None:
    for kind in ("Literal['a']", "int | None", "list[Attack]", "tuple[Attack, ...]", "Attack"):
        with pytest.raises(ConfigError, match=r"^method\.value is |^method\.value is not|block"):
            decode(with_field(kind), {"value": object()}, "method")


def test_a_type_that_its_module_does_not_import_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^method\.name: Mine has a field of the type NeverImp"):
        decode(with_field("NeverImported"), {"value": 1}, "method")


def test_a_class_that_is_no_dataclass_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        strength: float

    monkeypatch.setitem(METHODS._classes, "plain", Plain)
    from robustrun.types import Method

    with pytest.raises(ConfigError, match=r"^method\.name: .*Plain must be a dataclass"):
        decode(Method, {"name": "plain", "strength": 1}, "method")


_ = (Callable, Literal, Optional, Sequence, Union, torch, typing, pathlib, Attack)  # of the texts
