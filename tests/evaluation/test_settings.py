"""What may be asked of an evaluation, and what of old runs is read without a newer key."""

from typing import Any

import pytest

from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.errors import ConfigError
from robustrun.evaluation.settings import (
    NOT_ATTACKS,
    Corruptions,
    EvaluationPlan,
    Perturbations,
)


def plan(**changed: Any) -> EvaluationPlan:
    settings = {"examples": None, "choose": "first", "batch_size": 1, "radii": (), "attacks": {}}
    nothing = dict.fromkeys(("audit", "corruptions", "perturbations", "certificate"))
    return EvaluationPlan(**settings | changed, **nothing)


def test_a_setting_out_of_its_range_is_refused_by_name() -> None:
    limits: list[tuple[str, Any, Any]] = [
        *(("examples", None, 0), ("examples", 1, 0), ("batch_size", 1, 0)),
        *(("radii", (), (0.0,)), ("radii", (1e-6, 2.0), (2.0, -1e-6))),
    ]
    for key, right, wrong in limits:
        assert getattr(plan(**{key: right}), key) == right
        with pytest.raises(ConfigError, match=rf"^{key} is "):
            plan(**{key: wrong})


def test_no_attack_may_have_the_name_of_another_column_or_none() -> None:
    attack = load_config(compose_config([])).attack
    assert list(plan(attacks={"strong": attack}).attacks) == ["strong"]
    assert {"clean", "worst case", "worst_case", "seed", "audit"} <= set(NOT_ATTACKS)
    for name in (*NOT_ATTACKS, "", "  "):
        with pytest.raises(ConfigError, match=r"^attacks is .* must be named otherwise than clean"):
            plan(attacks={name: attack})


def test_runs_from_before_there_were_downloads_download_nothing() -> None:
    assert Corruptions.ADDED_LATER == Perturbations.ADDED_LATER == {"download": False}


def test_corruptions_of_no_severity_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^severities is \[\], but must be some of 1 to 5"):
        Corruptions("data", False, None, ())
