"""The Python side: the catalogue's parts as objects, by the names and keys of the command line."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from robustrun.configuration import composition, plugins
from robustrun.configuration.catalogue import options_by_group
from robustrun.configuration.decoding import decode, dump
from robustrun.configuration.hydra_errors import in_plain_words
from robustrun.configuration.run_config import RunConfig, left_out, load_config
from robustrun.errors import ConfigError, did_you_mean
from robustrun.evaluation import measure
from robustrun.evaluation.outcome import Evaluation
from robustrun.types import ATTACKS, DATASETS, AnyMethod, Attack, Dataset, HasOwnUnit, Images, Model

log = logging.getLogger(__name__)
FROM_THE_DATA = re.compile(r"\$\{(dataset|attack)\.")  # what a value of the catalogue borrows
Data = (
    tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]] | Images | Dataset | str
)  # what `evaluate` measures on


def attack(option: str, /, *, dataset: str | None = None, **keys: Any) -> Attack:
    """An attack of the catalogue (`robustrun list attack`), a function of (model, x, y).

    Each key of `robustrun explain attack=OPTION` is a keyword: `attack("pgd", norm="linf",
    epsilon=8/255, steps=50)`. A key inside a block is given in a dictionary, `inner={"steps": 3}`,
    or with a dot, `**{"inner.steps": 3}`; the rest of the block keeps its defaults. Keys that
    depend on others follow them (a step size follows the radius).

    Without `epsilon`, the radius is the customary one of `dataset` for the norm. Without `dataset`
    it is that of the digits, and a warning says so. ConfigError (a ValueError) or TypeError that
    names the key for what does not fit.
    """
    return cast(Attack, _part(Attack, "attack", option, dataset, keys))


def method(option: str, /, *, dataset: str | None = None, **keys: Any) -> AnyMethod:
    """A training method of the catalogue; options and keys as for `attack`. What an option says of
    `training` (the weight perturbation of `trades_awp`) is in `compose` alone."""
    return cast(AnyMethod, _part(AnyMethod, "method", option, dataset, keys))


def model(option: str, /, *, dataset: str | None = None, **keys: Any) -> Model:
    """A model of the catalogue, whose `build(shape, classes)` makes the network. `mean` and `std`,
    with which the network normalises, are those of `dataset` unless they are given; options and
    keys as for `attack`."""
    return cast(Model, _part(Model, "model", option, dataset, keys))


def dataset(option: str, /, **keys: Any) -> Dataset:
    """A data set of the catalogue, whose `load()` reads it; keys as for `attack`."""
    return cast(Dataset, _part(Dataset, "dataset", option, option, keys))


def compose(overrides: Iterable[str] = (), *, folders: Iterable[str | Path] = ()) -> RunConfig:
    """The configuration that `robustrun OVERRIDE ...` would run; `folders` are further folders of
    options, as `-cd FOLDER`, and stay on `sys.path`, so that their modules are found. ConfigError
    (a ValueError) as on the command line."""
    if isinstance(overrides, str):
        raise TypeError(f"The overrides are a list of texts: compose([{overrides!r}]).")
    given = list(overrides)
    for word in given:
        if not isinstance(word, str):
            raise TypeError(f"An override is {word!r}, but must be a text such as 'seed=1'.")
    places = [Path(folder).resolve() for folder in folders]
    for place in places:
        plugins.look_in(place)
    with _plainly(given, places):
        raw = composition.compose_config(given, places)
    for remark in left_out(raw).values():
        log.warning(remark)
    return load_config(raw, places)


def evaluate(
    model: nn.Module,
    data: Data,
    attacks: Attack | str | Mapping[str, Attack | str] | Iterable[str],
    *,
    seed: int = 0,
    batch_size: int = 500,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    threads: int | None = None,
) -> Evaluation:
    """Measure any classifier of images in [0, 1]. The result prints as a table.

    `data`: tensors (x, y); a loader of batches (x, y), which is read once; an Images; a data set of
    `dataset(...)`, or its name: then its test images. `attacks`: one attack, names of attacks, or
    attacks and names of attacks by the name that their result gets. A name alone is `attack(name)`,
    with the radius of `data` if that is a data set.

    The network is tried first (`robustrun.models.trial`); it stays on its device, and in eval mode.
    `seed` decides all random numbers of the attacks. They search in `precision` (auto: in bfloat16
    where the machine has units for it and the network is large enough) with `threads` cores (None:
    as many as torch has); verdicts are float32, on the network itself. The process is set up for
    this call alone. TypeError or ValueError for what cannot be measured.
    """
    source: Any = dataset(data) if isinstance(data, str) else data
    images = source.load().test if _is_dataset(source) else source
    chosen = _by_name(attacks, _option_of(data))
    how: Any = {"precision": precision, "threads": threads}
    return measure.evaluate(model, images, chosen, seed=seed, batch_size=batch_size, **how)


def _is_dataset(data: Any) -> bool:
    return (
        not isinstance(data, nn.Module) and hasattr(data, "load") and not hasattr(data, "batches")
    )


def _option_of(data: Any) -> str | None:
    """The option of a data set, if it has that of its class."""
    name = data if isinstance(data, str) else DATASETS.name_of(data)
    return name if name in options_by_group()["dataset"] else None


def _by_name(attacks: Any, dataset: str | None) -> dict[str, Any]:
    """The attacks of `evaluate`, each under the name of its result."""
    if isinstance(attacks, str):
        attacks = [attacks]
    elif callable(attacks):
        attacks = {ATTACKS.name_of(attacks) or type(attacks).__name__: attacks}
    if not isinstance(attacks, Mapping):
        if not isinstance(attacks, Iterable) or not all(isinstance(name, str) for name in attacks):
            raise TypeError(
                f"The attacks are {attacks!r}, but must be one attack, names of attacks, or a "
                f'mapping from names to attacks: {{"pgd": attack}}.'
            )
        attacks = {name: name for name in attacks}
    return {
        name: attack(it, dataset=dataset) if isinstance(it, str) else it
        for name, it in attacks.items()
    }


def _part(kind: Any, group: str, option: str, dataset: str | None, keys: dict[str, Any]) -> Any:
    """The object of an option, with these keys instead of the catalogue's."""
    words = [_word(group, option)]
    if dataset is not None and group != "dataset":
        words.append(_word("dataset", dataset))
    plugins.load()
    with _plainly(words), composition.composed(words) as (config, _):
        OmegaConf.set_struct(config, False)
        for key, value in _flat(group, keys):
            OmegaConf.update(config, key, value, merge=False)
        borrowed = _borrowed(config, group)
        raw = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(raw, dict)
    part = decode(kind, raw[group], group)
    if dataset is None and _matters(part):
        _say_what_is_borrowed(f"{group}={option}", {key: raw[group][key] for key in borrowed})
    return part


def _word(group: str, option: Any) -> str:
    """`group=option`; TypeError or ConfigError unless there is such an option."""
    if not isinstance(option, str):
        raise TypeError(f"The {group} is {option!r}, but must be the name of an option.")
    options = options_by_group()[group]
    if option not in options:
        near = did_you_mean(option, options)
        raise ConfigError(f"{group}={option}: there is no such {group}.{near}")
    return f"{group}={option}"


@contextmanager
def _plainly(words: list[str], folders: Iterable[Path] = ()) -> Iterator[None]:
    """Hydra's and OmegaConf's errors as ConfigErrors in plain words."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(in_plain_words(error, words, folders)) from error


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Each key with its value as YAML would have it; objects and lists are values."""
    if not isinstance(value, Mapping):
        yield prefix, _as_yaml(value)
        return
    for name, item in value.items():
        yield from _flat(f"{prefix}.{name}", item)


def _as_yaml(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_yaml(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):  # a number of NumPy or torch
        return value.item()
    return dump(value)


def _borrowed(config: DictConfig, group: str) -> list[str]:
    """The keys of a part whose values are taken from the attack or the data set."""
    raw = OmegaConf.to_container(config[group], resolve=False)
    assert isinstance(raw, dict)
    return [str(key) for key, value in raw.items() if FROM_THE_DATA.search(str(value))]


def _matters(part: Any) -> bool:
    """Whether a part is measured or trained in the pixels' units: not if it has its own (LPIPS)."""
    return not isinstance(part, HasOwnUnit) or part.own_radius[1] == getattr(part, "epsilon", None)


def _say_what_is_borrowed(option: str, values: dict[str, Any]) -> None:
    if values:
        listed = ", ".join(f"{key}={value!r}" for key, value in values.items())
        log.warning(
            "%s has %s from the default attack and data set (pgd on digits): give these keys, or "
            "dataset=OPTION",
            option,
            listed,
        )
