"""Imports whatever registers a part: our packages, installed packages' entry points, the user's."""

import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from robustrun.errors import ConfigError
from robustrun.registry import import_modules

PACKAGES = ("attacks", "methods", "models", "datasets", "devices", "trackers")
ENTRY_POINTS = "robustrun.plugins"


def load(modules: Iterable[str] = ()) -> None:
    """Import every module that may register a part, then the user's own `modules` by name.

    The current folder is on the path for the latter, so that a file beside the user is found.
    """
    for package in PACKAGES:
        import_modules(f"robustrun.{package}")
    for module in ("robustrun.optimizers", "robustrun.schedules", "robustrun.finished"):
        importlib.import_module(module)
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load()
    for name in modules:
        _import_users(name)


def look_in(folder: Path) -> None:
    """Find Python modules in this folder too, after all others."""
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.append(place)


def _import_users(name: str) -> None:
    look_in(Path.cwd())
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(
            f"plugins names the Python module {name!r}, which is not found. It must be importable: "
            f"in the current folder ({Path.cwd()}), the folder of -cd, on PYTHONPATH or installed."
        ) from None


def config_folders() -> list[Path]:
    """The `conf/` folders of installed plugins, found without importing them."""
    folders = []
    for entry in entry_points(group=ENTRY_POINTS):
        spec = find_spec(entry.module.partition(".")[0])
        for place in (spec.submodule_search_locations or []) if spec else []:
            if (conf := Path(place) / "conf").is_dir():
                folders.append(conf)
    return folders
