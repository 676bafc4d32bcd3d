"""Keys that earlier versions had elsewhere: as they are now, and where each has moved."""

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


def present_key(key: str) -> str | None:
    """Where a key of an earlier version is now; None if it never moved."""
    return f"method.{key.removeprefix(BASE)}" if key.startswith(BASE) else MOVED.get(key)


def with_present_keys(raw: dict[str, Any]) -> dict[str, Any]:
    """A configuration of any version, with its keys where they are now. ConfigError if it has one
    of them in both places, with different values."""
    method, schedule, training, recipe = (
        dict(block) if isinstance(block := raw.get(name), dict) else {}
        for name in ("method", "schedule", "training", "recipe")
    )
    former: dict[str, Any] = {}
    if method.get("name") == "awp" and isinstance(method.get("base"), dict):
        former = _taken(method, "method", ("gamma", "warmup"))
        method = dict(method["base"])
        raw = raw | {"options": {"method": "awp"} | (raw.get("options") or {})}  # its name then
    if method.get("name") in SMOOTHED:
        former |= _taken(method, "method", ("label_smoothing",))
    of_the_recipe = dict(former)  # from which `training` has them where it does not say otherwise
    if schedule.get("name") in WARMED:
        former |= _taken(schedule, "schedule", ("warmup",))
    if not former:
        return raw
    present = {"method": method, "schedule": schedule, "training": _merged(training, former)}
    return raw | present | ({"recipe": _merged(recipe, of_the_recipe)} if recipe else {})


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
