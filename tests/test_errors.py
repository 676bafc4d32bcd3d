"""Messages to the user: the nearest right word, long lists, names that are no text."""

from pathlib import Path

import pytest

from robustrun.errors import ConfigError, DataError, did_you_mean, listed, require, shown

KNOWN = ["trades", "pgd_at", "mart", "trades_awp", "trades"]
ALL = " Known: mart, pgd_at, trades, trades_awp."


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("trads", f" Did you mean 'trades' or 'trades_awp'?{ALL}"),
        ("trades_aw", f" Did you mean 'trades_awp' or 'trades'?{ALL}"),
        ("pgt_at", f" Did you mean 'pgd_at'?{ALL}"),
        ("zzz", ALL),
        ("", ALL),
    ],
)
def test_the_nearest_right_words_are_named_and_then_all(word: str, sentence: str) -> None:
    assert did_you_mean(word, KNOWN) == sentence


def test_a_value_out_of_range_is_named_with_its_key_and_what_is_allowed() -> None:
    require(True, "steps", 3, "at least 1")
    with pytest.raises(ConfigError) as caught:
        require(False, "steps", "0", "at least 1")
    assert str(caught.value) == "steps is '0', but must be at least 1."


@pytest.mark.parametrize("error", [ConfigError, DataError])
def test_in_python_it_is_a_value_error(error: type[Exception]) -> None:
    assert issubclass(error, ValueError)


@pytest.mark.parametrize(
    ("names", "most", "text"),
    [
        (["a", "b", "c"], 3, "a, b, c"),
        (["a", "b", "c"], 2, "a, b and 1 more"),
        (["a", "b", "c"], 1, "a and 2 more"),
        ([], 2, ""),
    ],
)
def test_of_a_long_list_the_number_left_out_is_said(names: list[str], most: int, text: str) -> None:
    assert listed(iter(names), most) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [("run é", "run é"), (Path("a/b"), "a/b"), ("run \udcff", "run \\xff")],
)
def test_a_name_of_bytes_that_are_no_text_can_be_written(name: str | Path, text: str) -> None:
    assert shown(name) == text
    text.encode()
