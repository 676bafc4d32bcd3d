"""RunConfig, and the way from a raw mapping to typed objects and back.

The only reader of raw configuration: everything behind it is typed and checked. A class may have
a mapping ADDED_LATER: for keys that older run folders lack, the value of what those runs did.
"""

import dataclasses
import math
import types
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from robustrun import plugins
from robustrun.errors import ConfigError, did_you_mean, require
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
    Attack,
    Dataset,
    Device,
    HasArchitecture,
    Method,
    Model,
    Optimizer,
    Schedule,
    Tracker,
)

REGISTRIES: dict[Any, Registry[Any]] = {
    Attack: ATTACKS,
    Dataset: DATASETS,
    Device: DEVICES,
    Method: METHODS,
    Model: MODELS,
    Optimizer: OPTIMIZERS,
    Schedule: SCHEDULES,
    Tracker: TRACKERS,
}

Select = Literal["best_robust", "best_clean", "last"]
# What results, tables and summaries have beside attacks: none may be called so.
NOT_ATTACKS = (
    *("clean", "worst_case", "worst case", "run", "status", "seconds", "error", "audit"),
    *("seed", "attack", "dataset", "device", "evaluation", "experiment", "method", "model"),
    *("optimizer", "schedule", "tracker"),  # columns of what was swept
)


@dataclass(frozen=True)
class Recipe:
    """What a method's authors trained with; other keys take their defaults from here."""

    epochs: int
    batch_size: int
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    milestones: tuple[float, ...]
    gamma: float
    warmup: float
    gradient_clip: float | None
    ema_decay: float | None
    select: Select


@dataclass(frozen=True)
class Training:
    """How long and in which portions the training goes, and which weights are kept."""

    ADDED_LATER: ClassVar[dict[str, Any]] = {
        "ema_buffers": "average",
        "ema_warmup": True,
        "ema_start": 0.0,
    }

    epochs: int
    batch_size: int
    validation_fraction: float
    validation_every: int
    select: Select
    gradient_clip: float | None
    ema_decay: float | None
    ema_buffers: Literal["average", "copy", "recompute"]  # see robustrun.averaging
    ema_warmup: bool
    ema_start: float
    on_nonfinite: Literal["stop", "skip"]
    on_collapse: Literal["warn", "stop", "restore"]
    checkpoint_minutes: float
    checkpoint_steps: int | None
    validation_attack: Attack | None  # None: no robust accuracy on the validation split

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        share = self.validation_fraction
        require(0 <= share < 1, "validation_fraction", share, "at least 0 and below 1")
        require(self.validation_every >= 1, "validation_every", self.validation_every, ">= 1")
        clip, decay = self.gradient_clip, self.ema_decay
        require(clip is None or clip > 0, "gradient_clip", clip, "above 0, or null")
        require(decay is None or 0 < decay < 1, "ema_decay", decay, "between 0 and 1, or null")
        require(0 <= self.ema_start < 1, "ema_start", self.ema_start, "at least 0 and below 1")
        minutes, steps = self.checkpoint_minutes, self.checkpoint_steps
        require(minutes > 0, "checkpoint_minutes", minutes, "above 0")
        require(steps is None or steps >= 1, "checkpoint_steps", steps, "at least 1, or null")
        restores = self.on_collapse == "restore"
        require(
            not (restores and self.select == "best_clean"),
            "on_collapse",
            self.on_collapse,
            "warn or stop when select is best_clean: the weights to go back to are the most robust",
        )


@dataclass(frozen=True)
class Differences:
    """Attack by finite differences: the slope over a neighbourhood instead of at a point.

    The directions are random signs on `cells` x `cells` squares of the image, channels apart.
    """

    examples: int  # images, of those that are audited
    steps: int
    samples: int  # directions at each step, two passes each
    cells: int
    reach: float  # how far to look to either side, as a share of the radius

    def __post_init__(self) -> None:
        for name in ("examples", "steps", "samples", "cells"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(0 < self.reach <= 1, "reach", self.reach, "a share of the radius, above 0")


@dataclass(frozen=True)
class AuditSettings:
    """How thorough the audit is, and from where on a difference counts."""

    examples: int | None  # images, drawn from those measured; null: all
    tolerance: float  # share of the images that another attack may take from the robust accuracy
    gap: float  # the same for the targeted attack
    passes: int  # over the same images, to see whether the answer changes
    steps: int  # of the stronger PGD
    restarts: int  # of the stronger PGD
    step: float  # of the stronger PGD, as a share of the radius
    surrogate_steps: int  # of training a network on what the audited one answers
    differences: Differences
    targeted: Attack
    black_box: Attack

    def __post_init__(self) -> None:
        examples = self.examples
        require(examples is None or examples >= 1, "examples", examples, "at least 1, or null")
        for name in ("tolerance", "gap"):
            require(0 < getattr(self, name) < 1, name, getattr(self, name), "a share, 0 to 1")
        require(self.passes >= 2, "passes", self.passes, "at least 2")
        for name in ("steps", "restarts", "surrogate_steps"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.step > 0, "step", self.step, "a share of the radius, above 0")


@dataclass(frozen=True)
class Corruptions:
    """Where the official files of CIFAR-10-C or its like are, and which are measured."""

    root: str
    names: tuple[str, ...] | None  # null: the fifteen of the benchmark
    severities: tuple[int, ...]


@dataclass(frozen=True)
class Perturbations:
    """The same for CIFAR-10-P."""

    root: str
    names: tuple[str, ...] | None  # null: the ten of the benchmark


@dataclass(frozen=True)
class EvaluationPlan:
    """What is measured when training is done, beside the run's own attack."""

    examples: int | None
    choose: Literal["first", "random"]
    batch_size: int
    radii: tuple[float, ...]  # multiples of the attack's radius
    attacks: dict[str, Attack]
    audit: AuditSettings | None
    corruptions: Corruptions | None
    perturbations: Perturbations | None

    def __post_init__(self) -> None:
        require(self.examples is None or self.examples >= 1, "examples", self.examples, ">= 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(all(r > 0 for r in self.radii), "radii", list(self.radii), "all above 0")
        for name in self.attacks:
            usable = bool(name.strip()) and name not in NOT_ATTACKS
            require(usable, "attacks", name, f"named otherwise than {', '.join(NOT_ATTACKS)}")


@dataclass(frozen=True)
class Published:
    """A number from elsewhere, shown beside what this run measures."""

    attack: str  # clean, or the name of an attack that is measured
    measure: Literal["accuracy", "perturbed_accuracy"]  # the latter: clean mistakes not counted
    accuracy: float  # fraction
    source: str

    def __post_init__(self) -> None:
        require(0 <= self.accuracy <= 1, "accuracy", self.accuracy, "a fraction in [0, 1]")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run. A value: comparable, and `load(dump(c)) == c`."""

    ADDED_LATER: ClassVar[dict[str, Any]] = {"options": {}}

    seed: int
    options: dict[str, str]  # the option that was chosen of each group, for `name_of`
    plugins: tuple[str, ...]
    published: tuple[Published, ...]
    # In the order of checking: what others follow comes first, so that a mistake is named at the
    # key the user typed (attack.epsilon) and not at one that borrows it.
    dataset: Dataset
    attack: Attack
    method: Method
    model: Model
    recipe: Recipe
    optimizer: Optimizer
    schedule: Schedule
    training: Training
    evaluation: EvaluationPlan
    device: Device
    tracker: Tracker

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**31, "seed", self.seed, "at least 0 and below 2**31")
        if self.training.select != "last" and self.training.validation_fraction == 0:
            # Nothing to choose by: the last weights are the only honest choice.
            last = dataclasses.replace(self.training, select="last")
            object.__setattr__(self, "training", last)
        _require_validation(self.training, self.attack.norm)
        self.attacks()

    def name_of(self, group: str) -> str:
        """What the chosen model, method, attack … is called in everything that a run leaves: as the
        user chose it (`trades_awp`), a library's network by its architecture."""
        chosen = getattr(self, group)
        if isinstance(chosen, HasArchitecture):
            return chosen.architecture
        return self.options.get(group) or str(dump(chosen)["name"])

    def attacks(self) -> dict[str, Attack]:
        """Every attack that the run is measured with, by the name that its results stand under: its
        own first, then the evaluation's. Where both have a name and differ, the latter's is
        `evaluation.NAME`."""
        own = self.name_of("attack")
        require(own not in NOT_ATTACKS, "attack", own, f"none of {', '.join(NOT_ATTACKS)}")
        named = {own: self.attack}
        for name, attack in self.evaluation.attacks.items():
            key = f"evaluation.{name}" if name == own and attack != self.attack else name
            unique = key not in named or (key == own and attack == self.attack)
            require(unique, "evaluation.attacks", key, "named otherwise: there is one so called")
            named[key] = attack
        return named


def load_config(raw: dict[str, Any]) -> RunConfig:
    """The typed configuration; ConfigError names the first key that is wrong, and what is right."""
    names = raw.get("plugins") or []
    plugins.load(_tuple_of(str, names, "plugins"))
    _require_followed(raw)
    for key in left_out(raw):
        raw = _without(raw, key.split("."))
    config: RunConfig = decode(RunConfig, raw, "")
    return config


def left_out(raw: dict[str, Any]) -> dict[str, str]:
    """The keys of attacks that would follow `attack.norm` and cannot, as FGSM in l1: they are left
    out; each with what is to be said of it. The validation attack is null then."""
    attack, evaluation, training = (raw.get(name) for name in ("attack", "evaluation", "training"))
    if not isinstance(attack, dict) or attack.get("norm") not in _norms(ATTACKS, attack):
        return {}  # the run's own attack is wrong: that is said first
    blocks: dict[str, Any] = {}
    if isinstance(evaluation, dict) and isinstance(evaluation.get("attacks"), dict):
        blocks = {f"evaluation.attacks.{name}": it for name, it in evaluation["attacks"].items()}
    if isinstance(training, dict):
        blocks["training.validation_attack"] = training.get("validation_attack")
    return {
        key: f"{key} is left out: {block['name']} takes {' or '.join(taken)}, and attack.norm is "
        f"{attack['norm']}."
        for key, block in blocks.items()
        if (taken := _norms(ATTACKS, block)) and _follows(block, attack) not in (None, *taken)
    }


def _follows(block: Any, attack: dict[str, Any]) -> Any:
    """The norm of a block that has the attack's; None if it has one of its own, or none."""
    norm = block.get("norm")
    return norm if norm == attack["norm"] else None


def _norms(registry: Registry[Any], block: Any) -> tuple[str, ...]:
    """The norms that the class which a block names can take; empty where none is named."""
    name = block.get("name") if isinstance(block, dict) else None
    if not isinstance(name, str) or name not in registry:
        return ()
    return get_args(get_type_hints(registry[name]).get("norm"))


def _without(raw: dict[str, Any], key: list[str]) -> dict[str, Any]:
    """A copy without an entry of a dictionary, or with null for a key that a class has."""
    if len(key) > 1:
        return raw | {key[0]: _without(raw[key[0]], key[1:])}
    if key == ["validation_attack"]:
        return raw | {key[0]: None}
    return {name: value for name, value in raw.items() if name != key[0]}


def _require_followed(raw: dict[str, Any]) -> None:
    """ConfigError if a method is to train in the attack's norm and its own attack cannot."""
    attack, method = raw.get("attack"), raw.get("method")
    taken = _norms(METHODS, method)
    if not isinstance(attack, dict) or not isinstance(method, dict) or not taken:
        return
    norm = attack.get("norm")
    if method.get("norm") == norm and norm not in taken and norm in _norms(ATTACKS, attack):
        raise ConfigError(
            f"method.norm is {norm!r}, as attack.norm, but what {method['name']} trains with takes "
            f"{' or '.join(taken)}. Train in another ball than is judged by, with "
            f"method.norm={taken[0]} and a method.epsilon for it, or take a method without a norm "
            f"(method=standard)."
        )


def _require_validation(training: Training, norm: str) -> None:
    """ConfigError if weights are to be chosen by a robust accuracy that is not measured."""
    if training.validation_attack is not None or training.validation_fraction == 0:
        return
    own = (
        f"there is no training.validation_attack (with attack.norm {norm} it may be given a norm "
        f"of its own: training.validation_attack.norm=linf training.validation_attack.epsilon=…)"
    )
    by = training.select
    require(by != "best_robust", "training.select", by, f"best_clean or last, since {own}")
    reply = training.on_collapse
    require(reply != "restore", "training.on_collapse", reply, f"warn or stop, since {own}")


def dump(value: Any) -> Any:
    """Plain mappings, lists and scalars from which `load` makes the same value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: dump(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return _registered_name(value) | fields
    if isinstance(value, dict):
        return {key: dump(item) for key, item in value.items()}
    if isinstance(value, tuple):
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
    if origin is dict:
        items = _mapping(value, key)
        return {name: decode(get_args(kind)[1], v, f"{key}.{name}") for name, v in items.items()}
    return _scalar(kind, value, key)


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
    if "name" not in {f.name for f in dataclasses.fields(cls)}:
        del items["name"]
    return _dataclass(cls, items, key)


def _dataclass(cls: Any, value: Any, key: str) -> Any:
    items = _mapping(value, key)
    kinds = get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    prefix = f"{key}." if key else ""
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
        return _tuple_of(kinds[0], value, key)
    if not isinstance(value, list) or len(value) != len(kinds):
        raise _wrong(key, value, f"a list of {len(kinds)}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(decode(kind, item, f"{key}[{i}]") for i, (kind, item) in pairs)


def _tuple_of(kind: Any, value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(key, value, "a list, as in [a, b]")
    return tuple(decode(kind, item, f"{key}[{i}]") for i, item in enumerate(value))


def _scalar(kind: Any, value: Any, key: str) -> Any:
    if kind is float:
        return number(value, key)
    if kind is int:
        exact = number(value, key) if not isinstance(value, bool) else math.nan
        if exact != exact or exact != int(exact):
            raise _wrong(key, value, "a whole number")
        return int(exact)
    if not isinstance(value, kind):
        right = {bool: "true or false", str: "a text"}.get(kind, kind.__name__)
        raise _wrong(key, value, right)
    return value


def number(value: Any, key: str) -> float:
    """A finite float from a number or a text such as `8/255`, `0.031` or `5e-4`."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        result = float(Fraction(value) if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        raise _wrong(key, value, "a number or a fraction such as 8/255") from None
    except ZeroDivisionError:
        raise _wrong(key, value, "a fraction whose denominator is not 0") from None
    if not math.isfinite(result):
        raise _wrong(key, value, "a finite number")
    return result
