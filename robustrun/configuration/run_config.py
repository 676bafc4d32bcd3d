"""RunConfig, and the way from a raw mapping to typed objects and back.

A class may have
a mapping ADDED_LATER: for keys that older run folders lack, the value of what those runs did.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_type_hints

from robustrun.configuration import plugins
from robustrun.configuration.decoding import decode, dump, tuple_of
from robustrun.configuration.former_keys import with_present_keys
from robustrun.errors import ConfigError, require
from robustrun.evaluation.settings import NOT_ATTACKS, EvaluationPlan
from robustrun.registry import NotRegistered, Registry
from robustrun.training.settings import Recipe, Training
from robustrun.types import (
    ATTACKS,
    METHODS,
    AnyMethod,
    Attack,
    Dataset,
    Device,
    HasArchitecture,
    HasSourceName,
    Model,
    Optimizer,
    OwnStep,
    Schedule,
    Tracker,
)


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
class Keep:
    """What a finished run leaves beside its results and weights; it changes neither."""

    checkpoint: bool  # False: once the run is complete, how it was started is all of checkpoint/
    figures: bool  # False: none are drawn


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run. A value: comparable, and `load(dump(c)) == c`."""

    ADDED_LATER: ClassVar[dict[str, Any]] = {
        "options": {},
        "keep": {"checkpoint": True, "figures": True},
    }

    seed: int
    options: dict[str, str]  # the option that was chosen of each group, for `name_of`
    plugins: tuple[str, ...]
    published: tuple[Published, ...]
    keep: Keep
    # In the order of checking: what others follow comes first, so that a mistake is named at the
    # key the user typed (attack.epsilon) and not at one that borrows it.
    dataset: Dataset
    attack: Attack
    method: AnyMethod
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
        self._require_combinable()
        self.attacks()

    def _require_combinable(self) -> None:
        """ConfigError for an option of training that cannot come with the method."""
        size, method = self.training.weight_perturbation, f"method={self.name_of('method')}"
        require(
            not (size and isinstance(self.method, OwnStep)),
            "training.weight_perturbation",
            size,
            f"0 with {method}: it perturbs the weights between an attack and its loss, but this "
            "method makes its steps itself",
        )
        smoothing, warmup = self.training.label_smoothing, self.training.warmup
        require(
            not smoothing or getattr(self.method, "smooths_labels", True),
            "training.label_smoothing",
            smoothing,
            f"0 with {method}, whose loss has its own formula",
        )
        require(
            not warmup or not getattr(self.schedule, "rises", False),
            "training.warmup",
            warmup,
            f"0 with schedule={self.name_of('schedule')}, which rises by itself",
        )

    def name_of(self, group: str) -> str:
        """What the chosen model, method, attack … is called in everything that a run leaves: as the
        user chose it (`trades_awp`), a library's network or data set by its name there."""
        chosen, option = getattr(self, group), self.options.get(group)
        registered = str(dump(chosen)["name"])
        if option in (None, "", registered):
            if isinstance(chosen, HasArchitecture):
                return chosen.architecture
            if isinstance(chosen, HasSourceName):
                return chosen.source_name
        return option or registered

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


def load_config(raw: dict[str, Any], folders: Iterable[Path] = ()) -> RunConfig:
    """The typed configuration; ConfigError names the first key that is wrong, and what is right.
    `folders` are those of options beside the catalogue."""
    names = raw.get("plugins") or []
    plugins.load(tuple_of(str, names, "plugins"))
    raw = with_present_keys(raw)
    _require_followed(raw)
    for key in left_out(raw):
        raw = _without(raw, key.split("."))
    try:
        config: RunConfig = decode(RunConfig, raw, "")
    except NotRegistered as error:
        if names or not (hint := plugins.hint(error.group, error.name, folders)):
            raise
        raise ConfigError(f"{error.what} {hint}") from None
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
