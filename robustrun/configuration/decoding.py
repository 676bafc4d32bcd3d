"""A raw mapping as typed dataclasses, and back; the only reader of raw values."""

import dataclasses
import math
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from robustrun.configuration.words import fraction
from robustrun.errors import ConfigError, did_you_mean
from robustrun.registry import Registry
from robustrun.types import (
    ATTACKS,
    DATASETS,
    DEVICES,
    METHODS,
    MODELS,
    OPTIMIZERS,
    SCHEDULES,
    TRACKERS,
    AnyMethod,
    Attack,
    Dataset,
    Device,
    Method,
    Model,
    Optimizer,
    Schedule,
    Tracker,
)

PLAIN: tuple[Any, ...] = (float, int, bool, str, list, dict, Any, object, types.NoneType)
READABLE = (
    "float, int, bool, str, Literal[...], X | None, X | Y, list[X], tuple[X, ...], tuple[X, Y], "
    "dict[str, X], Any, a dataclass, or a Protocol of robustrun.types such as Attack"
)
REGISTRIES: dict[Any, Registry[Any]] = {
    Attack: ATTACKS,
    Dataset: DATASETS,
    Device: DEVICES,
    AnyMethod: METHODS,
    Method: METHODS,  # of a plugin that has another method inside
    Model: MODELS,
    Optimizer: OPTIMIZERS,
    Schedule: SCHEDULES,
    Tracker: TRACKERS,
}


def dump(value: Any) -> Any:
    """Plain mappings, lists and scalars from which `load` makes the same value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: dump(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return _registered_name(value) | fields
    if isinstance(value, dict):
        return {key: dump(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [dump(item) for item in value]
    return value


def _registered_name(value: Any) -> dict[str, str]:
    names = (registry.name_of(value) for registry in REGISTRIES.values())
    return {"name": name} if (name := next(filter(None, names), "")) else {}


def decode(kind: Any, value: Any, key: str) -> Any:
    """`value` as an object of the annotated type `kind`; `key` is its place, for messages."""
    origin = get_origin(kind)
    if kind in REGISTRIES:
        return _registered(REGISTRIES[kind], value, key)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, key)
    if origin in (Union, types.UnionType):
        return _optional(get_args(kind), value, key)
    if origin is Literal:
        return _literal(get_args(kind), value, key)
    if origin is tuple:
        return _tuple(get_args(kind), value, key)
    if origin is list:
        return list(tuple_of(get_args(kind)[0], value, key))
    if origin is dict:
        items = _mapping(value, key)
        return {name: decode(get_args(kind)[1], v, f"{key}.{name}") for name, v in items.items()}
    return value if kind in (Any, object) else _scalar(kind, value, key)


def _wrong(key: str, value: Any, right: str) -> ConfigError:
    return ConfigError(f"{key} is {value!r}, but must be {right}.")


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(key, value, "a block of keys (is the option's name misspelt?)")
    return {str(name): item for name, item in value.items()}


def _registered(registry: Registry[Any], value: Any, key: str) -> Any:
    items = _mapping(value, key)
    if "name" not in items:
        raise ConfigError(f"{key}.name is missing. Known: {', '.join(registry)}.")
    cls = registry[items["name"]]
    if "name" not in _kinds(cls, f"{key}."):
        del items["name"]
    part = _dataclass(cls, items, key)
    registry.require_complete(part, key)
    return part


def _dataclass(cls: Any, value: Any, key: str) -> Any:
    items = _mapping(value, key)
    prefix = f"{key}." if key else ""
    kinds = _kinds(cls, prefix)
    names = list(kinds)
    for name in items:
        if name not in names:
            raise ConfigError(f"{prefix}{name} is not a key.{did_you_mean(name, names)}")
    items = getattr(cls, "ADDED_LATER", {}) | items
    for name in names:
        if name not in items:
            raise ConfigError(f"{prefix}{name} is missing.")
    fields = {name: decode(kinds[name], items[name], prefix + name) for name in names}
    try:
        return cls(**fields)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None


def _kinds(cls: Any, prefix: str) -> dict[str, Any]:
    """The type of each field of a dataclass; ConfigError, which begins with the key, if the class
    is none, or if a value of the type cannot be read."""
    owner = cls.__qualname__
    if not dataclasses.is_dataclass(cls):
        raise ConfigError(f"{prefix}name: {owner} must be a dataclass: @dataclass(frozen=True).")
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        raise ConfigError(
            f"{prefix}name: {owner} has a field of the type {error.name}, which is not there when "
            f"its module runs (is it imported under TYPE_CHECKING alone?)."
        ) from None
    kinds = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    for name, kind in kinds.items():
        if not _readable(kind):
            plain = isinstance(kind, type) and not get_args(kind)
            raise ConfigError(
                f"{prefix}{name}: {owner} declares it as {kind.__qualname__ if plain else kind}, "
                f"which cannot be read from YAML. What can be: {READABLE}."
            )
    return kinds


def _readable(kind: Any) -> bool:
    """Whether `decode` can make a value of this type."""
    if kind in PLAIN or kind in REGISTRIES or dataclasses.is_dataclass(kind):
        return True
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return True
    if not arguments or (origin is dict and arguments[0] is not str):
        return False
    parts = [part for part in arguments if part is not Ellipsis]
    return origin in (Union, types.UnionType, tuple, list, dict) and all(map(_readable, parts))


def _optional(kinds: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not types.NoneType]
    for kind in others[:-1]:
        try:
            return decode(kind, value, key)
        except ConfigError:
            continue
    return decode(others[-1], value, key)


def _literal(allowed: tuple[Any, ...], value: Any, key: str) -> Any:
    if value not in allowed:
        raise ConfigError(
            f"{key} is {value!r}, which is not an option."
            f"{did_you_mean(str(value), [str(a) for a in allowed])}"
        )
    return value


def _tuple(kinds: tuple[Any, ...], value: Any, key: str) -> Any:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple_of(kinds[0], value, key)
    if not isinstance(value, list) or len(value) != len(kinds):
        raise _wrong(key, value, f"a list of {len(kinds)}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(decode(kind, item, f"{key}[{i}]") for i, (kind, item) in pairs)


def tuple_of(kind: Any, value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(key, value, "a list, as in [a, b]")
    return tuple(decode(kind, item, f"{key}[{i}]") for i, item in enumerate(value))


def _scalar(kind: Any, value: Any, key: str) -> Any:
    if kind is float:
        return number(value, key)
    if kind is int:
        return _whole_number(value, key)
    if not isinstance(value, kind):
        right = {bool: "true or false", str: "a text"}.get(kind, kind.__name__)
        raise _wrong(key, value, right)
    return value


def _whole_number(value: Any, key: str) -> int:
    try:
        exact = number(value, key)
    except ConfigError:
        exact = math.nan
    if exact != exact or exact != int(exact):
        raise _wrong(key, value, "a whole number")
    return int(exact)


def number(value: Any, key: str) -> float:
    """A finite float from a number or a text such as `8/255`, `0.031` or `5e-4`."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        result = float(fraction(value) if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        raise _wrong(key, value, "a number or a fraction such as 8/255") from None
    except ZeroDivisionError:
        raise _wrong(key, value, "a fraction whose denominator is not 0") from None
    if not math.isfinite(result):
        raise _wrong(key, value, "a finite number")
    return result
