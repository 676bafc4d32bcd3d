"""What Hydra says of wrong words, in plain ones."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from robustrun.configuration import words
from robustrun.configuration.catalogue import options_by_group
from robustrun.configuration.composition import compose_config
from robustrun.configuration.former_keys import present_key
from robustrun.errors import did_you_mean

HYDRAS = {  # options of Hydra's own groups that runs and sweeps take
    "hydra/launcher": ["basic", "joblib", "ray", "slurm", "slurm_local"],
    "hydra/sweeper": ["basic", "optuna"],
}
NORMS = ("linf", "l2", "l1")
A_FILE = (
    "a model is one of robustrun list model. Weights of a file or a finished run are "
    "model.weights=PLACE, a Python file is model=file model.network=FILE.py:NAME."
)
FOLLOWED = {  # what other options take from the attack and the data set
    "attack.norm": "linf, l2 or l1",
    "attack.epsilon": "the radius in pixel units",
    "dataset.epsilon": "for each norm a radius in pixel units",
    "dataset.mean": "a list of numbers, one or one per channel",
    "dataset.std": "a list of numbers, one or one per channel",
}


def in_plain_words(error: Exception, given: Iterable[str], folders: Iterable[Path] = ()) -> str:
    """One paragraph on what is wrong with the overrides, and the nearest right words;
    `folders` are those of options beside the catalogue."""
    text, folders = str(error), list(folders)
    if match := re.search(r"Could not find '((?:hydra/)?[^'/]+)/([^']+)'", text):
        group, option = match.groups()
        options = HYDRAS.get(group) or options_by_group(folders).get(group, [])
        if group == "model" and set("/.") & set(option):
            return f"{group}={option}: {A_FILE}"
        return f"{group}={option}: there is no such {group}.{did_you_mean(option, options)}"
    if match := re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", text):
        return _unknown_key(match.group(1) or _full_key(text) or match.group(2), given, folders)
    if match := re.search(r"Interpolation key '(\w+)\.([\w.]+)' not found", text):
        return _nothing_to_follow(match.group(1), match.group(2), _full_key(text), given)
    if "INTERVAL_SWEEP" in text:
        word = next((word for word in given if "interval(" in word), "interval(...)")
        return f"{word} has no end of values: for a search in it, add hydra/sweeper=optuna."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines)


def _nothing_to_follow(group: str, key: str, follower: str, given: Iterable[str]) -> str:
    """On a key that an option lacks although others take their values from it."""
    block, _, norm = key.partition(".")
    if (group, block) == ("dataset", "epsilon") and norm not in NORMS:
        return f"attack.norm is {norm!r}, but must be one of {', '.join(NORMS)}."
    option = next((word for word in given if word.startswith(f"{group}=")), f"of {group}")
    meaning = FOLLOWED.get(f"{group}.{block}")
    return (
        f"{group}.{key} is missing, but {follower} takes its value from there. The option {option} "
        f"must have the key {block}{f' ({meaning})' if meaning else ''} in its YAML file, and its "
        f"class a field {block}."
    )


def _full_key(text: str) -> str:
    match = re.search(r"full_key: (\S+)", text)
    return match.group(1) if match else ""


def _unknown_key(key: str, given: Iterable[str], folders: list[Path]) -> str:
    groups = options_by_group(folders)
    group, _, package = key.partition("@")
    if group in groups and package:
        return f"{key} is not in the configuration yet: to add it, write +{key}=OPTION."
    if key in groups or "/" in key:
        return f"{key!r} cannot be overridden; known groups: {', '.join(groups)}."
    try:
        chosen = [word for word in words.parse_all(given) if not word.is_sweep_override()]
        choices = [str(word.input_line) for word in chosen if words.key(word) in groups]
        composed = compose_config(choices, folders)
    except Exception:  # the choices themselves may be wrong: then the key alone is named
        return f"{key!r} is not a key of the configuration (see `robustrun --cfg job`)."
    present = present_key(key)
    if present is not None and present in _flat(composed):
        return f"{key!r} is not a key of the configuration: what was there before is {present} now."
    return (
        f"{key!r} is not a key of the configuration.{_nearest(key, [*_flat(composed), *groups])}"
        f"{_how_to_add(composed, key)} See `robustrun --cfg job`."
    )


def _nearest(key: str, known: list[str]) -> str:
    """Keys that end in the one that was typed (`training.epochs` for `epochs`), else like it."""
    ends = [name for name in known if name.endswith(f".{key}")]
    own = [name for name in ends if name.count(".") == 1 and not name.startswith("recipe.")]
    if own or ends:
        return f" Did you mean {' or '.join(map(repr, (own or ends)[:3]))}?"
    others = [name for name in known if name != key]  # an option that has it is not chosen here
    return did_you_mean(key, others).partition(" Known:")[0]


def _how_to_add(composed: dict[str, Any], key: str) -> str:
    """For what `+` would add: an entry of `evaluation.attacks`, or a block that is null."""
    parent, _, name = key.rpartition(".")
    if parent == "evaluation.attacks":
        return f" To add an attack, write +attack@{key}=OPTION, or +{key}={{name: …}}."
    block: Any = composed
    for part in parent.split("."):
        block = block.get(part, {}) if isinstance(block, dict) else {}
    if block is None:
        whole = f"{parent}={{{name}: …}}"
        return f" {parent} is null: choose an option that has it, or write {whole} with all keys."
    return ""


def _flat(value: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        yield f"{prefix}{name}"
        yield from _flat(item, f"{prefix}{name}.")
