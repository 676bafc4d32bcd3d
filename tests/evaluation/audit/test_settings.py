"""What may be asked of an audit."""

import dataclasses
from typing import Any

import pytest

from evaluation.audit.small_audits import QUICK
from robustrun.errors import ConfigError

LIMITS: list[tuple[Any, str, Any, Any]] = [  # the last value that is right, and one that is wrong
    (QUICK, "examples", None, 0),
    (QUICK, "examples", 1, 0),
    *((QUICK, key, 1e-6, 0.0) for key in ("tolerance", "gap", "step")),
    *((QUICK, key, 0.99, 1.0) for key in ("tolerance", "gap")),
    (QUICK, "passes", 2, 1),
    *((QUICK, key, 1, 0) for key in ("steps", "restarts", "surrogate_steps")),
    *((QUICK.differences, key, 1, 0) for key in ("examples", "steps", "samples", "cells")),
    (QUICK.differences, "reach", 1e-6, 0.0),
    (QUICK.differences, "reach", 1.0, 1.01),
]


@pytest.mark.parametrize(("settings", "key", "right", "wrong"), LIMITS)
def test_a_setting_out_of_its_range_is_refused_by_name(
    settings: Any, key: str, right: Any, wrong: Any
) -> None:
    assert getattr(dataclasses.replace(settings, **{key: right}), key) == right
    with pytest.raises(ConfigError, match=rf"^{key} is .* but must be "):
        dataclasses.replace(settings, **{key: wrong})
