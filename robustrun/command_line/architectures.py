"""`robustrun list model --timm 'vit*'`: the networks that libraries have, and their weights.

Nothing is downloaded: all of it stands in the libraries' own registries.
"""

from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from robustrun import console
from robustrun.console import Table
from robustrun.errors import RobustrunError

COUNTED = 12  # networks that are put together (without memory) to count their parameters
HEADER = ["architecture", "pretrained weights", "images", "classes", "parameters"]


def print_architectures(patterns: dict[str, str]) -> None:
    """A table for each library with a pattern such as `vit*`; RobustrunError if one fits none."""
    for library, pattern in patterns.items():
        with console.step(f"searching the networks of {library}"):
            rows = ROWS[library](pattern if set(pattern) & set("*?[") else f"*{pattern}*")
        if not rows:
            raise RobustrunError(_none(library, pattern))
        names = {row[0] for row in rows}
        title = f"{library}: {len(names)} architecture{'s'[: len(names) != 1]} like {pattern}"
        console.show(Table(title, HEADER, rows), *_notes(library, len(names)))


def _notes(library: str, count: int) -> list[str]:
    chosen = {
        "timm": "model=timm model.architecture=NAME (NAME.TAG model.weights=pretrained)",
        "torchvision": "model=torchvision model.architecture=NAME (model.weights=THEIRS)",
    }
    uncounted = library == "timm" and count > COUNTED
    few = [f"parameters are counted for {COUNTED} architectures or fewer"] if uncounted else []
    return [*few, f"to choose one: {chosen[library]}"]


def _none(library: str, pattern: str) -> str:
    near = get_close_matches(pattern.strip("*"), NAMES[library](), n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{library} has no architecture like {pattern!r}.{guess}"


def _timm_names() -> list[str]:
    from robustrun.models.timm import installed_timm

    names: list[str] = installed_timm().list_models()
    return names


def _timm_rows(pattern: str) -> list[list[str]]:
    from robustrun.models.timm import installed_timm

    timm = installed_timm()
    names = [name for name in timm.list_models() if fnmatchcase(name, pattern)]
    known = set(names)
    tagged: dict[str, list[str]] = {name: [] for name in names}
    for full in timm.list_models(pretrained=True, include_tags=True):
        name, _, tag = full.partition(".")
        if name in known or fnmatchcase(full, pattern):
            tagged.setdefault(name, []).append(tag)
    counted = len(tagged) <= COUNTED
    return [_timm_row(timm, name, tag, counted) for name in tagged for tag in tagged[name] or [""]]


def _timm_row(timm: Any, name: str, tag: str, counted: bool) -> list[str]:
    about = timm.get_pretrained_cfg(f"{name}.{tag}" if tag else name)
    classes = None if about is None else about.num_classes
    size = "-" if about is None else " x ".join(map(str, about.input_size[1:]))
    count = _parameters(timm, name, classes) if counted else ""
    return [name, tag or "none", size, "-" if classes is None else _shown(classes), count]


def _shown(classes: int) -> str:
    return f"{classes:,}" if classes else "none"  # weights without a last layer


def _parameters(timm: Any, name: str, classes: int | None) -> str:
    """How many a network has with this number of classes; 0: without a last layer."""
    import torch

    with torch.device("meta"):
        network = timm.create_model(name, **({} if classes is None else {"num_classes": classes}))
    return f"{sum(p.numel() for p in network.parameters()):,}"


def _torchvision_names() -> list[str]:
    from torchvision import models

    return list(models.list_models(module=models))


def _torchvision_rows(pattern: str) -> list[list[str]]:
    from torchvision import models

    from robustrun.models.torchvision import statistics

    rows = []
    for name in (name for name in _torchvision_names() if fnmatchcase(name, pattern)):
        for weights in models.get_model_weights(name):
            size, meta = statistics(weights).size, weights.meta
            count, classes = f"{meta['num_params']:,}", _shown(len(meta["categories"] or ()))
            rows.append([name, weights.name, f"{size} x {size}", classes, count])
    return rows


ROWS: dict[str, Callable[[str], list[list[str]]]] = {
    "timm": _timm_rows,
    "torchvision": _torchvision_rows,
}
NAMES = {"timm": _timm_names, "torchvision": _torchvision_names}
