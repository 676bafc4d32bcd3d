"""Registries say what they hold, and warn of what they do not use."""

from dataclasses import dataclass

import pytest

from robustrun.registry import Registry
from robustrun.types import ATTACKS


@pytest.mark.parametrize("old", ["at", "describe", "reach"])
def test_a_part_with_the_old_name_of_a_method_is_warned_of(
    old: str, caplog: pytest.LogCaptureFixture
) -> None:
    new = ATTACKS.renamed[old]
    registry: Registry[object] = Registry("attack", ATTACKS.renamed)
    registry.register("old")(dataclass(frozen=True)(type("Old", (), {old: lambda self: None})))
    assert f"attack Old: {old} is called {new} now" in caplog.text
    caplog.clear()
    both = {old: lambda self: None, new: lambda self: None}
    registry.register("both")(dataclass(frozen=True)(type("Both", (), both)))
    registry.register("none")(dataclass(frozen=True)(type("None_", (), {})))
    assert not caplog.text
