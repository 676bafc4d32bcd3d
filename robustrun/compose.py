"""Hydra's part: where the YAML catalogue lies, and errors of composition in plain words."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict

from robustrun import plugins
from robustrun.errors import ConfigError, did_you_mean

OUTPUTS = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S-%f}"
HERE = Path(__file__).resolve().parent


def catalogue() -> Path:
    """`conf/`: inside the package when installed, beside it in a source tree."""
    inside = HERE / "conf"
    return inside if inside.is_dir() else HERE.parent / "conf"


def register_resolvers() -> None:
    """What YAML files may compute.

    `${times:0.25,${attack.epsilon}}`: a product, in which 8/255 is a number.
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

    def pick(key: str, table: Mapping[str, Any]) -> Any:
        return table[key]

    OmegaConf.register_new_resolver("times", times, replace=True)
    OmegaConf.register_new_resolver("pick", pick, replace=True)


def runs_of_sweep(arguments: list[str]) -> int | None:
    """How many runs `-m` makes of these words: one for each combination; None without `-m`, or
    where only Hydra knows (`glob(*)`, words that it will refuse)."""
    if not {"-m", "--multirun"} & set(arguments):
        return None
    words = [word for word in arguments if not word.startswith("-")]
    try:
        overrides = OverridesParser.create().parse_overrides(words)
        swept = [override for override in overrides if override.is_sweep_override()]
        return math.prod(len(list(override.sweep_iterator())) for override in swept)
    except HydraException:
        return None


def further_overrides(arguments: list[str]) -> list[str]:
    """What the command line adds to the user's words: where plugins and, for a configuration from
    elsewhere (`--config-path RUN`), the catalogue's own way of logging and writing are found."""
    folders = plugins.config_folders()
    elsewhere = any(re.match(r"(--config-path|-cp)(=|$)", word) for word in arguments)
    if elsewhere:
        folders = [*folders, catalogue()]
    words = [f"hydra.searchpath=[{','.join(f'file://{f}' for f in folders)}]"] if folders else []
    if elsewhere:
        names = ("output", "job_logging", "hydra_logging", "help")
        words += [f"hydra/{name}=robustrun" for name in names]
        words += ["hydra.output_subdir=null", "hydra.job.chdir=false", "hydra.job.name=robustrun"]
        words += [f"hydra.run.dir={OUTPUTS}" + "_${method.name}_${dataset.name}"]
    return words


def compose_raw(overrides: list[str]) -> dict[str, Any]:
    """The resolved configuration for these overrides, as the command line would compose it."""
    return _compose(overrides)


def _compose(overrides: list[str]) -> dict[str, Any]:
    with _catalogue():
        words = [*overrides, *further_overrides([])]
        composed = compose("config", words, return_hydra_config=True)
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


MEASURING = ("attack", "evaluation", "device", "tracker")  # what `evaluate` may choose anew


def compose_over(run: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """A finished run's configuration with other attacks, evaluation, device or data.

    A group that an override touches is composed anew from the catalogue (`attack.steps=50` keeps
    the run's kind of attack); everything else stays as the run has it.
    """
    touched = {re.split(r"[=.@]", word.lstrip("+~"))[0] for word in overrides}
    if wrong := touched - {*MEASURING, "dataset"}:
        allowed = ", ".join([*MEASURING, "dataset"])
        raise ConfigError(
            f"{' and '.join(sorted(wrong))}: a finished run has these already; what evaluate can "
            f"choose anew is {allowed}."
        )
    before = {name: run[name]["name"] for name in ("dataset", "attack")} | run.get("options", {})
    kept = [f"{name}={before[name]}" for name in ("dataset", "attack") if _listed(before, name)]
    chosen = {word.partition("=")[0] for word in overrides}
    words = [*(word for word in kept if word.partition("=")[0] not in chosen), *overrides]
    fresh = _compose(words)
    composed = OmegaConf.create(fresh)
    anew = touched - ({"dataset"} if "dataset" not in chosen else set())
    if "attack" in touched and "evaluation" not in touched:
        anew.add("evaluation")  # its attacks borrow the radius
        for key in ("examples", "choose", "batch_size"):
            composed.evaluation[key] = run["evaluation"][key]
    for section in run:
        if section not in {*anew, "options"}:
            OmegaConf.update(composed, section, run[section], merge=False, force_add=True)
    for word in overrides:
        key, _, value = word.partition("=")
        if key.startswith("dataset.") and "dataset" not in anew:
            OmegaConf.update(composed, key, value)
    renewed = {name: option for name, option in fresh["options"].items() if name in anew}
    return plain(composed) | {"options": run.get("options", {}) | renewed}


def _listed(options: dict[str, str], group: str) -> bool:
    return options[group] in groups()[group]


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


def groups() -> dict[str, list[str]]:
    """Every group with its options, those of installed plugins included."""
    found: dict[str, set[str]] = {}
    for conf in (catalogue(), *plugins.config_folders()):
        for folder in (f for f in conf.iterdir() if f.is_dir() and f.name != "hydra"):
            found.setdefault(folder.name, set()).update(file.stem for file in folder.glob("*.yaml"))
    return {group: sorted(found[group]) for group in sorted(found)}


def option_file(group: str, option: str) -> Path:
    """The YAML file of one option."""
    files = [conf / group / f"{option}.yaml" for conf in (catalogue(), *plugins.config_folders())]
    return next(file for file in files if file.is_file())


def in_plain_words(error: Exception, overrides: list[str]) -> str:
    """One paragraph on what is wrong with the overrides, and the nearest right words."""
    text = str(error)
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        group, option = found.groups()
        known = groups().get(group, [])
        return f"{group}={option}: there is no such {group}.{did_you_mean(option, known)}"
    if found := re.search(r"Could not override '([^'@]+)'|Key '([^']+)' is not in struct", text):
        key = found.group(1) or found.group(2)
        return _unknown_key(key, overrides)
    if found := re.search(r"Interpolation key 'dataset\.epsilon\.(\w*)' not found", text):
        return f"attack.norm is {found.group(1)!r}, but must be one of linf, l2, l1."
    bare = [word for word in overrides if "=" not in word and not word.startswith("~")]
    if bare and isinstance(error, OverrideParseException):
        return f"{bare[0]!r} is neither a sub-command nor an override such as key=value."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines)


def _unknown_key(key: str, overrides: list[str]) -> str:
    if key in groups() or "/" in key:
        return f"{key!r} cannot be overridden; known groups: {', '.join(groups())}."
    chosen = [word for word in overrides if word.partition("=")[0].lstrip("+") in groups()]
    try:
        keys = list(_flat(compose_raw([word for word in chosen if "," not in word])))
    except Exception:  # the choices themselves may be wrong: then the key alone is named
        return f"{key!r} is not a key of the configuration (see `robustrun --cfg job`)."
    near = did_you_mean(key, {*keys, *groups()}).partition(" Known:")[0]
    return f"{key!r} is not a key of the configuration.{near} See `robustrun --cfg job`."


def _flat(value: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        yield f"{prefix}{name}"
        yield from _flat(item, f"{prefix}{name}.")
