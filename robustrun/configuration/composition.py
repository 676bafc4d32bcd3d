"""Hydra's part: what it is given beside the words of a user, and what it composes."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.basecontainer import BaseContainer

from robustrun.configuration import plugins, words
from robustrun.configuration.catalogue import catalogue
from robustrun.configuration.words import Line
from robustrun.errors import ConfigError, require

OUTPUTS = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S-%f}"
SEARCH_PATH = "hydra.searchpath"
ENGINES = {  # the plugin of each launcher, and the extra that installs it with its engine
    "joblib": ("hydra_joblib_launcher", "parallel"),
    "slurm": ("hydra_submitit_launcher", "slurm"),
    "slurm_local": ("hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_ray_launcher", "ray"),
}
LAUNCHERS = {  # our settings of plugins that bring options of their own
    "joblib": ("hydra.launcher.pre_dispatch=n_jobs", "hydra.launcher.batch_size=1"),
    "ray": (
        "hydra.launcher._target_=hydra_plugins.robustrun.RayLauncher",
        "++hydra.launcher.ray.init.include_dashboard=false",
        "++hydra.launcher.ray.remote.num_cpus=1",
        "++hydra.launcher.ray.remote.max_retries=0",  # what is lost is launched again by the driver
    ),
}
OF_AN_APPLICATION = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)


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
                product *= words.fraction(factor)
            except (ArithmeticError, TypeError, ValueError):
                return factor  # no number: `config.load` says so, at the factor's own key
        return float(product)

    def quotient(dividend: Any, divisor: Any) -> Any:
        try:
            return float(words.fraction(dividend) / words.fraction(divisor))
        except (ArithmeticError, TypeError, ValueError):
            return dividend  # the same: what is no number, or 0, is refused at its own key

    def pick(key: str, table: Mapping[str, Any]) -> Any:
        return table[key]

    OmegaConf.register_new_resolver("times", times, replace=True)
    OmegaConf.register_new_resolver("quotient", quotient, replace=True)
    OmegaConf.register_new_resolver("pick", pick, replace=True)


def for_hydra(line: Line, folders: Iterable[Path] = ()) -> Line:
    """The line with what Hydra needs beside the user's words: where plugins, options in further
    `folders` and, for a configuration from elsewhere (`--config-path`), the catalogue's own way of
    logging and writing are found."""
    folders = [*folders, *plugins.config_folders()]
    line = replace(line, words=(*_of_launcher(line.words), *line.words))
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


def _of_launcher(given: Iterable[str]) -> list[str]:
    """The settings of a launcher whose plugin has other defaults than sweeps of runs need;
    ConfigError if its engine is not installed."""
    chosen = [str(o.value()) for o in map(words.parse, given) if words.key(o) == "hydra/launcher"]
    for name in (name for name in chosen if name in ENGINES):
        plugin, extra = ENGINES[name]
        if find_spec(f"hydra_plugins.{plugin}") is None:
            raise ConfigError(
                f"hydra/launcher={name} is not installed: pip install 'robustrun[{extra}]'"
            )
    return [word for name in chosen for word in LAUNCHERS.get(name, ())]


def _absolute(folder: str | None) -> str:
    """Where the user means: Hydra would look beside its caller's source code."""
    return str(Path(folder or ".").resolve())


def named_folders(line: Line) -> list[Path]:
    """The folders of options that a line names: `-cd FOLDER`, hydra.searchpath=[file://FOLDER]."""
    overrides = [word for word in map(words.parse, line.words) if words.key(word) == SEARCH_PATH]
    places = [str(place) for word in overrides for place in listed(word)]
    folders = [place.removeprefix("file://") for place in places if place.startswith("file://")]
    return [*typed_folders(line), *(Path(folder).resolve() for folder in folders)]


def typed_folders(line: Line) -> list[Path]:
    """Those of `-cd FOLDER` alone, whatever the other words are."""
    return [Path(folder).resolve() for folder in line.values("--config-dir")]


def opened_folders(line: Line) -> list[Path]:
    """The folders of options that a line names, in which Python modules are found from now on;
    ConfigError if there is no such folder."""
    for folder in line.values("--config-dir"):
        if not Path(folder).is_dir():
            raise ConfigError(f"-cd {folder}: there is no such folder.")
    places = named_folders(line)
    for place in places:
        plugins.look_in(place)
    return places


def listed(override: Override) -> list[Any]:
    """The items of an override whose value is a list; none of any other."""
    value = override.value()
    return value if isinstance(value, list) else []


def named_modules(overrides: Iterable[Override]) -> list[str]:
    """The Python modules that `plugins=[MODULE]` among these overrides names."""
    named = [override.value() for override in overrides if words.group(override) == "plugins"]
    listed = [value if isinstance(value, list) else [value] for value in named if value]
    return [str(module) for modules in listed for module in modules]


def _with_search_path(given: Iterable[str], folders: Iterable[Path]) -> tuple[str, ...]:
    """The words with further folders of options, after those that the user names."""
    overrides = [words.parse(word) for word in given]
    named = [word for word in overrides if words.key(word) == SEARCH_PATH]
    places = [str(place) for word in named for place in listed(word)]
    places += [f"file://{folder}" for folder in folders]
    others = [str(word.input_line) for word in overrides if words.key(word) != SEARCH_PATH]
    if not places:
        return tuple(others)
    for place in places:
        right = "a folder without '${' in its path: Hydra takes that for an interpolation"
        require("${" not in place, SEARCH_PATH, place, right)
    return (f"{SEARCH_PATH}=[{','.join(map(words.quoted, places))}]", *others)


def compose_config(given: Iterable[str], folders: Iterable[Path] = ()) -> dict[str, Any]:
    """The resolved configuration for these words, as the command line would compose it with
    options from further `folders`."""
    with composed(given, folders) as (config, hydra):
        return with_options(config, hydra)


@contextmanager
def composed(
    given: Iterable[str], folders: Iterable[Path] = ()
) -> Iterator[tuple[DictConfig, DictConfig]]:
    """The configuration for these words, its interpolations not yet resolved, and Hydra's own
    section. They can be resolved inside the `with` only: afterwards Hydra and OmegaConf's
    resolvers are as they were before, so that a program that uses Hydra itself is not disturbed."""
    given = [str(word.input_line) for word in words.parse_all(given)]
    more = [*folders, *plugins.config_folders()]
    with own_hydra(), initialize_config_dir(str(catalogue()), version_base="1.3"):
        register_resolvers()
        config = compose("config", [*_with_search_path(given, more)], return_hydra_config=True)
        hydra = config.hydra
        with open_dict(config):
            del config["hydra"]
        yield config, hydra


def with_options(composed: DictConfig, hydra: Any) -> dict[str, Any]:
    """`plain`, and the option that was chosen of each group, from Hydra's own section: not where an
    override has made another thing of it (`attack.name=ensemble`)."""
    renamed = {word.partition(".name=")[0] for word in hydra.overrides.task if ".name=" in word}
    chosen = {
        str(group): str(option)
        for group, option in hydra.runtime.choices.items()
        if option is not None and not {"/", "@"} & set(group) and group not in renamed
    }
    whole = resolved(composed)
    return whole | {"options": whole.get("options", {}) | chosen}


@contextmanager
def own_hydra() -> Iterator[None]:
    """Hydra's singletons of an application and the resolvers, empty or copied, and put back. Hydra
    has no public way to compose inside an application of another configuration."""
    Plugins.instance()  # found once for all: searching takes 0.1 s
    singletons, resolvers = Singleton._instances, BaseContainer._resolvers
    kept = {kind: it for kind, it in singletons.items() if kind not in OF_AN_APPLICATION}
    Singleton._instances, BaseContainer._resolvers = kept, dict(resolvers)
    try:
        yield
    finally:
        Singleton._instances, BaseContainer._resolvers = singletons, resolvers


def resolved(composed: DictConfig) -> dict[str, Any]:
    """Plain mappings and lists, every interpolation resolved, of what decides a run: `resume` is
    about the command alone."""
    container = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items() if key != "resume"}
