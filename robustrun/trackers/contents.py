"""What trackers are sent, in the plain form that all of them take; and the packages they need."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from robustrun.errors import ConfigError


def package(module: str, extra: str) -> ModuleType:
    """An optional package; ConfigError names the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"tracker={extra} needs a package that is not installed ({error}). Install it with "
            f"pip install 'robustrun[{extra}]', or take tracker=none."
        ) from None


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """The measured columns of an epoch's row."""
    return {
        f"epoch/{name}": float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and name != "epoch"
    }


def final(results: dict[str, Any]) -> dict[str, float]:
    """Every accuracy of a finished run, and its seconds; an unfinished one has the latter only."""
    values = {"final/seconds": float(results["run"]["seconds"])}
    evaluation = results.get("evaluation")
    if evaluation:
        parts = [("clean", evaluation["clean"]), ("worst_case", evaluation["worst_case"])]
        parts += [(attack["name"], attack) for attack in evaluation["attacks"]]
        values |= {f"final/{name}": float(entry["accuracy"]) for name, entry in parts}
    return values


def pictures(folder: Path) -> list[Path]:
    return sorted((folder / "figures").glob("*.png"))


def model(folder: Path) -> list[Path]:
    """The selected weights and what is said of them, as far as the run came."""
    files = (folder / name for name in ("model.safetensors", "MODEL_CARD.md", "results.json"))
    return [file for file in files if file.is_file()]
