"""When APGD checks its progress, and which settings are refused."""

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


@pytest.mark.parametrize(
    ("build", "settings", "wrong"),
    [
        (Checks, {"first": 0.2, "shorter": 0.03, "shortest": 0.06}, {"first": 1.1}),
        (Checks, {"first": 0.2, "shorter": 0.03, "shortest": 0.06}, {"shorter": -0.1}),
        (Checks, {"first": 0.2, "shorter": 0.03, "shortest": 0.06}, {"shortest": 2.0}),
        (Phase, {"radius": 1.0, "share": 1.0}, {"radius": 0.0}),
        (Phase, {"radius": 1.0, "share": 1.0}, {"share": 1.5}),
    ],
)
def test_shares_out_of_range_are_refused_by_name(
    build: Any, settings: dict[str, float], wrong: dict[str, float]
) -> None:
    build(**settings)
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} is"):
        build(**settings | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 0.0},
        {"start": 1.1},
        {"divisor": 0.9},
        {"step_divisor": 0.5},
        {"smallest_step": 0.0},
        {"smallest_step": 1.1},
    ],
)
def test_a_sparsity_out_of_range_is_refused_by_name(wrong: dict[str, float]) -> None:
    settings = {"start": 0.2, "divisor": 1.5, "stable": 0.95, "step_divisor": 1.5}
    Sparsity(**settings, smallest_step=0.1)
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} is"):
        Sparsity(**settings | {"smallest_step": 0.1} | wrong)
