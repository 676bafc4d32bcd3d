"""Keys that earlier versions had elsewhere: as they are now, and where each has moved."""

import re
from collections.abc import Iterable
from typing import Any

from robustrun.errors import ConfigError

MOVED = {
    "method.label_smoothing": "training.label_smoothing",
    "method.gamma": "training.weight_perturbation",
    "method.warmup": "training.weight_perturbation_warmup",
    "schedule.warmup": "training.warmup",
}
BASE = "method.base."  # in which AWP had the keys of the method whose weights it perturbed
SMOOTHED = ("fast_at", "free_at", "n_fgsm", "pgd_at")  # methods that had labels smoothed
WARMED = ("constant", "cosine", "multistep")  # schedules that had a warm-up
NONE = {  # what earlier versions did where they had no such key
    "label_smoothing": 0.0,
    "weight_perturbation": 0.0,
    "weight_perturbation_warmup": 0.0,
}


def present_key(key: str) -> str | None:
    """Where a key of an earlier version is now; None if it never moved."""
    return f"method.{key.removeprefix(BASE)}" if key.startswith(BASE) else MOVED.get(key)


def with_present_keys(raw: dict[str, Any]) -> dict[str, Any]:
    """A configuration of any version, with its keys where they are now. ConfigError if it has one
    of them in both places, with different values."""
    method, schedule, training, recipe = (
        _block(raw, name) for name in ("method", "schedule", "training", "recipe")
    )
    former: dict[str, Any] = {}
    if _is_awp(method):
        former = _taken(method, "method", ("gamma", "warmup"))
        method = dict(method["base"])
        raw = raw | {"options": {"method": "awp"} | (raw.get("options") or {})}  # its name then
    if method.get("name") in SMOOTHED:
        former |= _taken(method, "method", ("label_smoothing",))
    of_the_recipe = dict(former)  # from which `training` has them where it does not say otherwise
    if schedule.get("name") in WARMED:
        former |= _taken(schedule, "schedule", ("warmup",))
    blocks = {"method": method, "schedule": schedule}
    blocks["training"] = _merged(NONE | {"warmup": 0.0} | training, former) if training else {}
    blocks["recipe"] = _merged(NONE | recipe, of_the_recipe) if recipe else {}
    return raw | {name: block for name, block in blocks.items() if block}


def with_present_words(words: Iterable[str], raws: Iterable[dict[str, Any]]) -> list[str]:
    """Words that an earlier version was given, with their keys where they are now. `raws` are the
    configurations that it made of them: a key may also be another method's own."""
    moved = set().union(*map(_moved_in, raws))
    return [_with_present_key(word, moved) for word in words]


def _moved_in(raw: dict[str, Any]) -> set[str]:
    """The former keys that an earlier version's configuration has; BASE for all that begin so."""
    method, schedule = _block(raw, "method"), _block(raw, "schedule")
    base, moved = method, set()
    if _is_awp(method):
        base, moved = method["base"], {BASE, "method.gamma", "method.warmup"}
    if base.get("name") in SMOOTHED:
        moved |= {"method.label_smoothing", f"{BASE}label_smoothing"}
    return moved | ({"schedule.warmup"} if schedule.get("name") in WARMED else set())


def _with_present_key(word: str, moved: set[str]) -> str:
    prefix, key, rest = re.fullmatch(r"([+~]*)([^=]*)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
    if BASE in moved and key.startswith(BASE):
        key = f"method.{key.removeprefix(BASE)}"
    return prefix + (MOVED[key] if key in moved and key in MOVED else key) + rest


def _block(raw: dict[str, Any], name: str) -> dict[str, Any]:
    block = raw.get(name)
    return dict(block) if isinstance(block, dict) else {}


def _is_awp(method: dict[str, Any]) -> bool:
    return method.get("name") == "awp" and isinstance(method.get("base"), dict)


def _taken(block: dict[str, Any], place: str, names: tuple[str, ...]) -> dict[str, Any]:
    """What a block has under these names, taken out of it; by its former key."""
    return {f"{place}.{name}": block.pop(name) for name in names if name in block}


def _merged(block: dict[str, Any], former: dict[str, Any]) -> dict[str, Any]:
    """The block with former keys' values in their present places; 0 was their way to say none."""
    merged = dict(block)
    for key, value in former.items():
        name = MOVED[key].removeprefix("training.")
        if value and merged.get(name) and value != merged[name]:
            raise ConfigError(f"{key} is {value!r}, but is called {MOVED[key]} now: set that one.")
        merged[name] = value or merged.get(name) or 0.0
    return merged
