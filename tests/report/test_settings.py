"""Configurations of many runs: dotted keys, shared where they are equal."""

from typing import Any

from robustrun.report import settings
from robustrun.report.settings import Pool, Settings


def several(*configs: dict[str, Any]) -> list[Settings]:
    pool = Pool()
    return [
        Settings({group: pool.block(group, content, None) for group, content in config.items()})
        for config in configs
    ]


def test_a_configuration_has_one_level_of_keys() -> None:
    (one,) = several({"seed": 0, "method": {"name": "m", "inner": {"steps": 7, "sizes": [1, 2]}}})
    assert dict(one) == {
        "seed": 0,
        "method.name": "m",
        "method.inner.steps": 7,
        "method.inner.sizes": "[1, 2]",
    }
    assert len(one) == 4
    assert one.get("method.beta") is None
    assert "model.name" not in one


def test_the_name_of_a_group_is_what_the_user_chose() -> None:
    pool = Pool()
    assert pool.block("method", {"name": "trades"}, "trades_awp") == {"method.name": "trades_awp"}
    assert pool.block("method", {"name": "trades"}, None) == {"method.name": "trades"}


def test_what_is_equal_in_several_runs_is_one_object() -> None:
    first, second, third = several(
        {"seed": 0, "optimizer": {"lr": 0.1}},
        {"seed": 1, "optimizer": {"lr": 0.1}},
        {"seed": 1, "optimizer": {"lr": 0.2}},
    )
    assert first.blocks["optimizer"] is second.blocks["optimizer"]
    assert second.blocks["seed"] is third.blocks["seed"]
    assert third["optimizer.lr"] == 0.2


def test_keys_vary_if_they_have_several_values_or_are_not_everywhere() -> None:
    method = {"name": "m", "beta": 1.0, "empty": None}
    runs = several(
        {"seed": 0, "method": method, "dataset": {"name": "d"}},
        {"seed": 0, "method": method | {"beta": 1}, "dataset": {"name": "d"}},
        {"seed": 0, "method": {"name": "m", "beta": 1.0, "alpha": True}, "tracker": {"x": None}},
    )
    assert settings.varying_keys(runs) == ["method.beta", "dataset.name", "method.alpha"]
    assert settings.varying_keys(runs[:1]) == []
    assert settings.varying_keys([]) == []
    assert list(settings.keys(runs)) == [
        *("seed", "method.name", "method.beta", "method.empty", "dataset.name"),
        *("method.alpha", "tracker.x"),
    ]
