"""The words with several values as what Optuna may choose."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from robustrun.errors import ConfigError

pytest.importorskip("optuna", reason="robustrun[search] is not installed")
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from robustrun.command_line.search_space import Space, space


def of(*typed: str) -> Space:
    return space(OverridesParser.create().parse_overrides([*typed]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("interval(1,10)", FloatDistribution(1.0, 10.0)),
        ("interval(0.5,2)", FloatDistribution(0.5, 2.0)),
        ("int(interval(1,10))", IntDistribution(1, 10)),
        ("tag(log,interval(0.1,10))", FloatDistribution(0.1, 10.0, log=True)),
        ("tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("range(1,7,2)", IntDistribution(1, 5, step=2)),
        ("range(3)", IntDistribution(0, 2)),
        ("range(6,0,-3)", IntDistribution(3, 6, step=3)),
        ("range(0.1,0.45,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("1,3,6", CategoricalDistribution(["1", "3", "6"])),
        ("choice(0.1,0.1,8/255)", CategoricalDistribution(["0.1", "8/255"])),
        ("true,null", CategoricalDistribution(["True", "null"])),
        ("[1,2],[3]", CategoricalDistribution(["[1,2]", "[3]"])),
    ],
)
def test_a_word_is_one_distribution(value: str, expected: BaseDistribution) -> None:
    assert of(f"a.b={value}").parameters == {"a.b": expected}


def test_a_run_has_the_fixed_words_and_a_value_of_each_key() -> None:
    searched = of("+attack@evaluation.attacks.mine=pgd,fgsm", "seed=3", "x=interval(0,1)")
    assert searched.words({"+attack@evaluation.attacks.mine": "fgsm", "x": 1e-05}) == [
        "seed=3",
        "+attack@evaluation.attacks.mine=fgsm",
        "x=1e-05",
    ]


def test_the_last_word_of_a_key_counts() -> None:
    assert of("x=1,2", "x=3", "y=1", "y=1,2").fixed == ("x=3",)


def test_each_choice_and_both_ends_of_a_range_are_among_the_extremes() -> None:
    extremes = of("x=a,b,c", "y=interval(1,2)").extremes()
    assert extremes == [{"x": "a", "y": 1.0}, {"x": "b", "y": 2.0}, {"x": "c", "y": 1.0}]


def test_a_grid_has_every_combination() -> None:
    grid = of("x=a,b", "y=range(0.1,0.35,0.1)").grid()
    assert [values["x"] for values in grid] == ["a"] * 3 + ["b"] * 3
    assert [values["y"] for values in grid] == [0.1, 0.2, 0.3] * 2
    assert [type(values["n"]) for values in of("n=range(2)").grid()] == [int, int]


@pytest.mark.parametrize("value", ["range(3,3)", "interval(2,1)", "tag(log,range(1,9,2))"])
def test_what_has_no_value_or_no_meaning_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"x=.* cannot be searched"):
        of(f"x={value}")
