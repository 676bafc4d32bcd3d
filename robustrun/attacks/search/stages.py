"""What attacks that consist of attacks have in common: Ensemble and AutoAttack."""

from dataclasses import asdict, replace
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import check_threat_model
from robustrun.attacks.search.cascade import Run, call_attack, run_until_fooled
from robustrun.compute.modes import attack_mode
from robustrun.errors import require
from robustrun.types import Attack, HasEffectiveSettings, Staged


class HasStages(Protocol):
    """A frozen dataclass of one threat model and the attacks in it, by name."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def norm(self) -> str: ...

    @property
    def epsilon(self) -> float: ...

    @property
    def attacks(self) -> dict[str, Attack]: ...


A = TypeVar("A", bound=HasStages)


def check_stages(whole: HasStages) -> None:
    """ConfigError unless there are attacks, all bounded adversaries of this threat model."""
    norm, epsilon = whole.norm, whole.epsilon
    check_threat_model(norm, epsilon)
    require(len(whole.attacks) > 0, "attacks", "empty", "at least one attack")
    for name, attack in whole.attacks.items():
        key = f"attacks.{name}"
        require(attack.bounded and attack.adversarial, key, attack, "a bounded adversary")
        require(attack.norm == norm, f"{key}.norm", attack.norm, f"{norm}, like the ensemble's")
        same = attack.epsilon == epsilon
        require(same, f"{key}.epsilon", attack.epsilon, f"{epsilon}, like the ensemble's")


def run_stages(
    whole: HasStages,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    generator: torch.Generator | None = None,
    batch_size: int | None = None,
) -> Tensor:
    def run(attack: Attack, left: Tensor) -> Tensor:
        return call_attack(attack, model, x[left], y[left], generator, batch_size)

    runs: list[Run] = [partial(run, attack) for attack in whole.attacks.values()]
    with attack_mode(model):
        return run_until_fooled(model, x, y, runs)


def stages_in_order(whole: HasStages) -> list[tuple[str, Attack]]:
    """The attacks in order, for a caller that runs, times and keeps each on its own; instead of an
    attack that has stages itself, these, as `autoattack/apgd_ce`."""
    return [stage for name, attack in whole.attacks.items() for stage in _stages(name, attack)]


def _stages(name: str, attack: Attack) -> list[tuple[str, Attack]]:
    if not isinstance(attack, Staged):
        return [(name, attack)]
    return [(f"{name}/{part}", its) for part, its in attack.stages()]


def stages_at_radius(whole: A, epsilon: float) -> A:
    """The same attacks at another radius, each by its own `with_radius`."""
    attacks = {name: attack.with_radius(epsilon) for name, attack in whole.attacks.items()}  # type: ignore[attr-defined]
    return replace(whole, epsilon=epsilon, attacks=attacks)


def settings_of_stages(whole: HasStages, classes: int) -> dict[str, Any]:
    """The settings as they apply to this number of classes; `instead` collects what had to change
    in the attacks."""
    settings = asdict(whole)
    stages = dict(settings["attacks"])
    for name, attack in whole.attacks.items():
        if isinstance(attack, HasEffectiveSettings):
            stages[name] = attack.effective_settings(classes)
    changes = [f"{name}: {s['instead']}" for name, s in stages.items() if "instead" in s]
    return settings | {"attacks": stages} | ({"instead": "; ".join(changes)} if changes else {})
