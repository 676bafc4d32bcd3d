"""When APGD checks its progress, and which settings are refused."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from robustrun.attacks.search.apgd_settings import Checks, Phase, Sparsity
from robustrun.errors import ConfigError

LINF = Checks(first=0.22, shorter=0.03, shortest=0.06)


@pytest.mark.parametrize(
    ("checks", "steps", "ends"),
    [
        (LINF, 100, {22: 22, 41: 19, 57: 16, 70: 13, 80: 10, 87: 7, 93: 6, 99: 6}),
        (LINF, 20, {4: 4, 7: 3, 9: 2, 10: 1, 11: 1, 12: 1, 13: 1, 14: 1, 15: 1, 16: 1, 17: 1}
         | {18: 1, 19: 1, 20: 1}),
        (LINF, 1, {1: 1}),
        (LINF, 0, {}),
        (Checks(0.5, 1.0, 0.1), 10, {5: 5, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1}),
    ],
)  # fmt: skip
def test_checks_come_after_ever_shorter_periods_of_at_least_one_step(
    checks: Checks, steps: int, ends: dict[int, int]
) -> None:
    assert checks.periods(steps) == ends


CHECKS: dict[str, float] = {"first": 0.2, "shorter": 0.03, "shortest": 0.06}
PHASE: dict[str, float] = {"radius": 1.0, "share": 1.0}
SPARSITY: dict[str, float] = {"start": 0.2, "divisor": 1.5, "stable": 0.95, "step_divisor": 1.5}
SPARSITY |= {"smallest_step": 0.1}


@pytest.mark.parametrize(
    ("build", "settings", "key", "right", "wrong"),  # the last right value, and one that is wrong
    [
        *((Checks, CHECKS, key, 0.0, -0.01) for key in CHECKS),
        *((Checks, CHECKS, key, 1.0, 1.01) for key in CHECKS),
        (Phase, PHASE, "radius", 1e-6, 0.0),
        (Phase, PHASE, "share", 0.0, -0.01),
        (Phase, PHASE, "share", 1.0, 1.01),
        (Sparsity, SPARSITY, "start", 1e-6, 0.0),
        (Sparsity, SPARSITY, "start", 1.0, 1.01),
        (Sparsity, SPARSITY, "divisor", 1.0, 0.99),
        (Sparsity, SPARSITY, "step_divisor", 1.0, 0.99),
        (Sparsity, SPARSITY, "smallest_step", 1e-6, 0.0),
        (Sparsity, SPARSITY, "smallest_step", 1.0, 1.01),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(
    build: Any, settings: dict[str, float], key: str, right: float, wrong: float
) -> None:
    assert getattr(build(**settings | {key: right}), key) == right
    with pytest.raises(ConfigError, match=f"^{key} is .* but must be "):
        build(**settings | {key: wrong})


def test_settings_cannot_be_changed() -> None:
    for its, key in ((Checks(**CHECKS), "first"), (Phase(**PHASE), "share")):
        with pytest.raises(FrozenInstanceError):
            setattr(its, key, 0.5)
    with pytest.raises(FrozenInstanceError):
        Sparsity(**SPARSITY).start = 0.5  # type: ignore[misc]
