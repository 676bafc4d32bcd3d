"""Imports whatever registers a part: our packages, installed packages' entry points, the user's."""

import dataclasses
import importlib
import logging
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from robustrun.errors import ConfigError, DataError
from robustrun.registry import import_modules

PACKAGES = ("attacks", "methods", "models", "datasets", "devices", "trackers")
ENTRY_POINTS = "robustrun.plugins"
log = logging.getLogger(__name__)


def load(modules: Iterable[str] = ()) -> None:
    """Import every module that may register a part, then the user's own `modules` by name.

    The current folder is on the path for the latter, so that a file beside the user is found.
    """
    for package in PACKAGES:
        import_modules(f"robustrun.{package}")
    for module in (
        "robustrun.training.optimizers",
        "robustrun.training.schedules",
        "robustrun.run_folder.lpips_network",
    ):
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


def hint(group: str, name: str, folders: Iterable[Path]) -> str:
    """What is missing where an option of one of these folders has a `name` that no imported class
    has; empty if no option has it."""
    for folder in folders:
        if name in map(_named, (folder / group).glob("*.yaml")):
            modules = [file.stem for file in folder.glob("*.py") if file.stem != "__init__"]
            module = modules[0] if len(modules) == 1 else "MODULE"
            return f"To import the Python file that registers it, add plugins=[{module}]."
    return ""


def _named(file: Path) -> str:
    """The `name` that an option's YAML file has."""
    try:
        block = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return str(block.get("name", "")) if isinstance(block, dict) else ""


def _import_users(name: str) -> None:
    look_in(Path.cwd())
    _forget_another(name)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(
            f"plugins names the Python module {name!r}, which is not found. It must be importable: "
            f"in the current folder ({Path.cwd()}), the folder of -cd, on PYTHONPATH or installed."
        ) from None


def _forget_another(name: str) -> None:
    """A module of this name that an earlier command of this process found in another folder is not
    meant: it is imported again, from where it would be found now."""
    top = name.partition(".")[0]
    imported, spec = sys.modules.get(top), PathFinder.find_spec(top)
    origin = getattr(getattr(imported, "__spec__", None), "origin", None)
    if spec is None or None in (origin, spec.origin) or origin == spec.origin:
        return
    for module in [module for module in sys.modules if module.partition(".")[0] == top]:
        del sys.modules[module]


def places(value: Any) -> dict[str, str]:
    """Of the objects that a configuration holds: each module from outside this package that made
    one, with the folder that it was found in."""
    modules = {type(part).__module__ for part in parts(value)} | set(getattr(value, "plugins", ()))
    ours = ("robustrun", "builtins", "__main__")
    others = [name for name in sorted(modules) if name.partition(".")[0] not in ours]
    return {name: place for name in others if (place := _place(name))}


def parts(value: Any) -> Iterator[Any]:
    """Every object of a class within a configuration, itself first."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        value = list(value.values())
    for item in value if isinstance(value, list | tuple) else ():
        yield from parts(item)


def _place(module: str) -> str | None:
    """The folder that must be on Python's path for `module` to be found; None if it is not."""
    top = module.partition(".")[0]
    spec = getattr(sys.modules.get(top), "__spec__", None) or find_spec(top)
    if spec is None:
        return None
    inside = list(spec.submodule_search_locations or ())
    file = inside[0] if inside else spec.origin
    return str(Path(file).resolve().parent) if file else None


def restore(places: dict[str, str], run: Path) -> None:
    """Import the modules that `run` was made with, from where they were unless they are found;
    DataError that names what is missing."""
    for module, folder in places.items():
        if _place(module) is None:
            look_in(Path(folder))
        if (place := _place(module)) is None:
            raise DataError(
                f"{run} was made with the Python module {module!r} of {folder}, which is not found "
                f"there. Put it back, install it, or name the folder that has it now with -cd or "
                f"in PYTHONPATH."
            )
        if place != folder:
            log.warning("%s was made with %s of %s: that of %s is used", run, module, folder, place)
        importlib.import_module(module)


def config_folders(modules: Iterable[str] | None = None) -> list[Path]:
    """The `conf/` folders of installed plugins, found without importing them; of those alone that
    have some of these `modules`, if any are named."""
    folders = []
    tops = None if modules is None else {module.partition(".")[0] for module in modules}
    for entry in entry_points(group=ENTRY_POINTS):
        top = entry.module.partition(".")[0]
        spec = find_spec(top) if tops is None or top in tops else None
        for place in (spec.submodule_search_locations or []) if spec else []:
            if (conf := Path(place) / "conf").is_dir():
                folders.append(conf)
    return folders
