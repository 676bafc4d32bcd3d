"""The catalogue on disk: groups and options of conf/, and of plugins' folders."""

from collections.abc import Iterable
from pathlib import Path

from robustrun.configuration import plugins

PACKAGE = Path(__file__).resolve().parents[1]


def catalogue() -> Path:
    """`conf/`: inside the package when installed, beside it in a source tree."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


def options_by_group(folders: Iterable[Path] = ()) -> dict[str, list[str]]:
    """Every group with its options, those of installed plugins and further `folders` included."""
    groups: dict[str, set[str]] = {}
    for conf in _places(folders):
        for folder in (f for f in conf.iterdir() if f.is_dir() and f.name != "hydra"):
            options = {file.stem for file in folder.glob("*.yaml")}
            groups.setdefault(folder.name, set()).update(options)
    return {group: sorted(options) for group, options in sorted(groups.items()) if options}


def option_file(group: str, option: str, folders: Iterable[Path] = ()) -> Path:
    """The YAML file of one option."""
    files = [conf / group / f"{option}.yaml" for conf in _places(folders)]
    return next(file for file in files if file.is_file())


def _places(folders: Iterable[Path]) -> list[Path]:
    """Where options are, in the order in which Hydra looks for them."""
    places = [catalogue(), *folders, *plugins.config_folders()]
    return [place for place in places if place.is_dir()]
