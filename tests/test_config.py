"""The configuration: every option composes, decodes, and comes back from its own dump."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import pytest

from robustrun.configuration import composition
from robustrun.configuration.catalogue import options_by_group
from robustrun.configuration.decoding import decode, dump, number
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.errors import ConfigError

OPTIONS = [(group, option) for group, options in options_by_group().items() for option in options]


def loaded(*overrides: str) -> RunConfig:
    return load_config(composition.compose_config(list(overrides)))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_of_the_catalogue_loads_and_survives_its_own_dump(
    group: str, option: str
) -> None:
    more = ["dataset.root=somewhere"] if option == "image_folder" else []
    word = "+experiment" if group == "experiment" else group
    found = loaded(f"{word}={option}", *more)
    assert load_config(dump(found)) == found


@pytest.mark.parametrize(
    ("value", "expected"), [("8/255", 8 / 255), (0.5, 0.5), (3, 3.0), ("5e-4", 5e-4), ("2", 2.0)]
)
def test_numbers_may_be_fractions(value: Any, expected: float) -> None:
    assert number(value, "key") == expected


@pytest.mark.parametrize("value", ["abc", "1/0", "nan", "inf", True, None, [1], "", float("inf")])
def test_what_is_not_a_finite_number_is_refused_with_its_key(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"the\.key"):
        number(value, "the.key")


def test_epsilon_moves_training_and_evaluation_together_and_method_epsilon_parts_them() -> None:
    together = loaded("attack.epsilon=4/255")
    apart = loaded("attack.epsilon=4/255", "method.epsilon=2/255")
    assert together.method.epsilon == together.attack.epsilon == float(Fraction(4, 255))
    assert together.training.validation_attack.epsilon == together.attack.epsilon
    assert apart.method.epsilon == float(Fraction(2, 255))
    assert apart.attack.epsilon == together.attack.epsilon


def test_the_step_size_follows_the_radius_until_it_is_set() -> None:
    assert loaded("attack.epsilon=0.2").attack.step_size == pytest.approx(0.05)
    assert loaded("attack.epsilon=0.2", "attack.step_size=0.01").attack.step_size == 0.01


def test_the_radius_left_alone_is_the_data_sets_own_for_the_norm() -> None:
    found = loaded("attack=pgd_l2")
    assert found.attack.epsilon == found.dataset.epsilon.l2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.beta=abc", r"method\.beta is 'abc'"),
        ("method.beta=-1", r"method\.beta is -1\.0"),
        ("attack.epsilon=-0.1", r"attack\.epsilon is -0\.1"),
        ("attack.epsilon=8", r"attack\.epsilon is 8\.0.*8/255"),
        ("attack.norm=l3", r"dataset\.epsilon\.l3|attack\.norm"),
        ("attack.steps=0", r"attack\.steps is 0"),
        ("attack.steps=1.5", r"attack\.steps is 1\.5"),
        ("training.batch_size=0", r"training\.batch_size is 0"),
        ("training.epochs=true", r"training\.epochs is True"),
        ("training.validation_fraction=1", r"training\.validation_fraction is 1\.0"),
        ("optimizer.lr=nan", r"optimizer\.lr is"),
        ("device.threads=0", r"device\.threads is 0"),
        ("device.precision=float8", r"device\.precision is 'float8'"),
        ("+method.bete=3", r"method\.bete is not a key.*'beta'"),
        ("seed=-1", r"seed is -1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(override: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        loaded(override)


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


def test_without_a_validation_split_the_last_weights_are_selected() -> None:
    assert loaded("method=pgd_at", "training.validation_fraction=0").training.select == "last"


def test_a_run_from_before_a_key_existed_is_read_with_what_it_did_then() -> None:
    now = loaded("method=fast_at")
    before = dump(now)
    for key in ("shape", "start", "end", "momentum", "moves", "length"):
        del before["schedule"][key]
    assert load_config(before) == now
