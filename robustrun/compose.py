"""Hydra's part: where the YAML catalogue lies, and errors of composition in plain words."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from robustrun import plugins, words
from robustrun.errors import did_you_mean, require
from robustrun.words import Line

OUTPUTS = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S-%f}"
SEARCH_PATH = "hydra.searchpath"
HERE = Path(__file__).resolve().parent


def catalogue() -> Path:
    """`conf/`: inside the package when installed, beside it in a source tree."""
    inside = HERE / "conf"
    return inside if inside.is_dir() else HERE.parent / "conf"


def register_resolvers() -> None:
    """What YAML files may compute.

    `${times:0.25,${attack.epsilon}}`: a product, in which 8/255 is a number.
    `${quotient:a,b}`: a divided by b, numbers as above.
    `${pick:${.norm},{linf:1,l2:1,l1:5}}`: the value of a table at a key.
    """

    def times(*factors: Any) -> Any:
        product = Fraction(1)
        for factor in factors:
            try:
                product *= Fraction(factor)
            except (ArithmeticError, TypeError, ValueError):
                return factor  # no number: `config.load` says so, at the factor's own key
        return float(product)

    def quotient(dividend: Any, divisor: Any) -> Any:
        try:
            return float(Fraction(dividend) / Fraction(divisor))
        except (ArithmeticError, TypeError, ValueError):
            return dividend  # the same: what is no number, or 0, is refused at its own key

    def pick(key: str, table: Mapping[str, Any]) -> Any:
        return table[key]

    OmegaConf.register_new_resolver("times", times, replace=True)
    OmegaConf.register_new_resolver("quotient", quotient, replace=True)
    OmegaConf.register_new_resolver("pick", pick, replace=True)


def runs_of_sweep(line: Line) -> int | None:
    """How many runs `-m` makes of these words: one for each combination; None without `-m`, or
    where only Hydra knows (`glob(*)`)."""
    if not line.sweeps:
        return None
    swept = [word for word in words.parse_all(line.words) if word.is_sweep_override()]
    try:
        return math.prod(len(list(word.sweep_iterator())) for word in swept)
    except HydraException:
        return None


def for_hydra(line: Line, folders: Iterable[Path] = ()) -> Line:
    """The line with what Hydra needs beside the user's words: where plugins, options in further
    `folders` and, for a configuration from elsewhere (`--config-path`), the catalogue's own way of
    logging and writing are found."""
    folders = [*folders, *plugins.config_folders()]
    if line.value("--config-path") is None:
        return replace(line, words=_with_search_path(line.words, folders))
    names = ("output", "job_logging", "hydra_logging", "help")
    more = [f"hydra/{name}=robustrun" for name in names]
    more += ["hydra.output_subdir=null", "hydra.job.chdir=false", "hydra.job.name=robustrun"]
    more += [f"hydra.run.dir={OUTPUTS}" + "_${method.name}_${dataset.name}"]
    chosen = {words.key(words.parse(word)) for word in line.words}
    own = [word for word in more if word.partition("=")[0] not in chosen]
    folders = [*folders, catalogue()]
    flags = [
        (name, _absolute(value) if name == "--config-path" else value) for name, value in line.flags
    ]
    return Line(tuple(flags), _with_search_path((*own, *line.words), folders))


def _absolute(folder: str | None) -> str:
    """Where the user means: Hydra would look beside its caller's source code."""
    return str(Path(folder or ".").resolve())


def named_folders(line: Line) -> list[Path]:
    """The folders of options that a line names: `-cd FOLDER`, hydra.searchpath=[file://FOLDER]."""
    overrides = [word for word in map(words.parse, line.words) if words.key(word) == SEARCH_PATH]
    places = [str(place) for word in overrides for place in _listed(word)]
    folders = [place.removeprefix("file://") for place in places if place.startswith("file://")]
    return [Path(folder).resolve() for folder in (line.value("--config-dir"), *folders) if folder]


def _listed(override: Override) -> list[Any]:
    value = override.value()
    return value if isinstance(value, list) else []


def _with_search_path(given: Iterable[str], folders: Iterable[Path]) -> tuple[str, ...]:
    """The words with further folders of options, after those that the user names."""
    overrides = [words.parse(word) for word in given]
    named = [word for word in overrides if words.key(word) == SEARCH_PATH]
    places = [str(place) for word in named for place in _listed(word)]
    places += [f"file://{folder}" for folder in folders]
    others = [str(word.input_line) for word in overrides if words.key(word) != SEARCH_PATH]
    if not places:
        return tuple(others)
    for place in places:
        right = "a folder without '${' in its path: Hydra takes that for an interpolation"
        require("${" not in place, SEARCH_PATH, place, right)
    return (f"{SEARCH_PATH}=[{','.join(map(words.quoted, places))}]", *others)


def compose_raw(given: Iterable[str], folders: Iterable[Path] = ()) -> dict[str, Any]:
    """The resolved configuration for these words, as the command line would compose it with
    options from further `folders`."""
    given = [str(word.input_line) for word in words.parse_all(given)]
    with _catalogue():
        more = [*folders, *plugins.config_folders()]
        composed = compose("config", [*_with_search_path(given, more)], return_hydra_config=True)
        hydra = composed.hydra
        with open_dict(composed):
            del composed["hydra"]
        return with_options(composed, hydra)


def with_options(composed: DictConfig, hydra: Any) -> dict[str, Any]:
    """`plain`, and the option that was chosen of each group, from Hydra's own section: not where an
    override has made another thing of it (`attack.name=ensemble`)."""
    renamed = {word.partition(".name=")[0] for word in hydra.overrides.task if ".name=" in word}
    chosen = {
        str(group): str(option)
        for group, option in hydra.runtime.choices.items()
        if option is not None and not {"/", "@"} & set(group) and group not in renamed
    }
    whole = plain(composed)
    return whole | {"options": whole.get("options", {}) | chosen}


@contextmanager
def _catalogue() -> Iterator[None]:
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(catalogue()), version_base="1.3"):
        yield


def plain(composed: DictConfig) -> dict[str, Any]:
    """Plain mappings and lists, every interpolation resolved, of what decides a run: `resume` is
    about the command alone."""
    container = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items() if key != "resume"}


def options_by_group(folders: Iterable[Path] = ()) -> dict[str, list[str]]:
    """Every group with its options, those of installed plugins and further `folders` included."""
    found: dict[str, set[str]] = {}
    for conf in (catalogue(), *plugins.config_folders(), *folders):
        for folder in (f for f in conf.iterdir() if f.is_dir() and f.name != "hydra"):
            found.setdefault(folder.name, set()).update(file.stem for file in folder.glob("*.yaml"))
    known = {group: sorted(options) for group, options in found.items() if options}
    return {group: known[group] for group in sorted(known)}


def option_file(group: str, option: str) -> Path:
    """The YAML file of one option."""
    files = [conf / group / f"{option}.yaml" for conf in (catalogue(), *plugins.config_folders())]
    return next(file for file in files if file.is_file())


def in_plain_words(error: Exception, given: Iterable[str]) -> str:
    """One paragraph on what is wrong with the overrides, and the nearest right words."""
    text = str(error)
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        group, option = found.groups()
        known = options_by_group().get(group, [])
        return f"{group}={option}: there is no such {group}.{did_you_mean(option, known)}"
    if found := re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", text):
        return _unknown_key(found.group(1) or _full_key(text) or found.group(2), given)
    if found := re.search(r"Interpolation key 'dataset\.epsilon\.(\w*)' not found", text):
        return f"attack.norm is {found.group(1)!r}, but must be one of linf, l2, l1."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines)


def _full_key(text: str) -> str:
    found = re.search(r"full_key: (\S+)", text)
    return found.group(1) if found else ""


def _unknown_key(key: str, given: Iterable[str]) -> str:
    group, _, package = key.partition("@")
    if group in options_by_group() and package:
        return f"{key} is not in the configuration yet: to add it, write +{key}=OPTION."
    if key in options_by_group() or "/" in key:
        return f"{key!r} cannot be overridden; known groups: {', '.join(options_by_group())}."
    try:
        chosen = [word for word in words.parse_all(given) if not word.is_sweep_override()]
        choices = [str(word.input_line) for word in chosen if words.key(word) in options_by_group()]
        composed = compose_raw(choices)
    except Exception:  # the choices themselves may be wrong: then the key alone is named
        return f"{key!r} is not a key of the configuration (see `robustrun --cfg job`)."
    keys = list(_flat(composed))
    near = did_you_mean(key, {*keys, *options_by_group()}).partition(" Known:")[0]
    return (
        f"{key!r} is not a key of the configuration.{near}{_how_to_add(composed, key)} "
        f"See `robustrun --cfg job`."
    )


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
