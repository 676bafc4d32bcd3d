"""The values of a package: its dataclasses, which nobody may change."""

import dataclasses
import importlib

from robustrun.registry import import_modules


def changeable(package: str, least: int) -> list[str]:
    """The dataclasses of a package's modules, of which there are so many at least, that are not
    frozen."""
    classes = {
        its
        for name in import_modules(package)
        for its in vars(importlib.import_module(name)).values()
        if dataclasses.is_dataclass(its) and its.__module__ == name
    }
    assert len(classes) >= least
    return [its.__qualname__ for its in classes if not its.__dataclass_params__.frozen]  # type: ignore[attr-defined]
