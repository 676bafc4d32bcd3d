"""Several attacks as one: each on the images that the model still gets right."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import Norm, check_threat_model
from robustrun.attacks.search.cascade import Run, call_attack, run_until_fooled
from robustrun.compute.modes import attack_mode
from robustrun.errors import require
from robustrun.types import ATTACKS, Attack


@ATTACKS.register("ensemble")
@dataclass(frozen=True)
class Ensemble:
    """The worst of its attacks for each image, run one after another on what is left."""

    norm: Norm
    epsilon: float  # pixel units
    attacks: dict[str, Attack]

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_stages(self.norm, self.epsilon, self.attacks)

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        generator: torch.Generator | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        return run_stages(self.attacks, model, x, y, generator, batch_size)

    def stages(self) -> list[tuple[str, Attack]]:
        """The attacks in order, for a caller that runs, times and keeps each on its own."""
        return list(self.attacks.items())

    def with_radius(self, epsilon: float) -> "Ensemble":
        """The same attacks at another radius."""
        return replace(self, epsilon=epsilon, attacks=stages_at(self.attacks, epsilon))

    def effective_settings(self, classes: int) -> dict[str, Any]:
        """The settings as they apply to a model with so many classes, and what had to change."""
        return describe_stages(asdict(self), self.attacks, classes)


def check_stages(norm: str, epsilon: float, attacks: dict[str, Attack]) -> None:
    """ConfigError unless there are attacks, all bounded adversaries of this threat model."""
    check_threat_model(norm, epsilon)
    require(len(attacks) > 0, "attacks", "empty", "at least one attack")
    for name, attack in attacks.items():
        key = f"attacks.{name}"
        require(attack.bounded and attack.adversarial, key, attack, "a bounded adversary")
        require(attack.norm == norm, f"{key}.norm", attack.norm, f"{norm}, like the ensemble's")
        same = attack.epsilon == epsilon
        require(same, f"{key}.epsilon", attack.epsilon, f"{epsilon}, like the ensemble's")


def run_stages(
    attacks: dict[str, Attack],
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator | None,
    batch_size: int | None,
) -> Tensor:
    def run(attack: Attack, left: Tensor) -> Tensor:
        return call_attack(attack, model, x[left], y[left], generator, batch_size)

    runs: list[Run] = [partial(run, attack) for attack in attacks.values()]
    with attack_mode(model):
        return run_until_fooled(model, x, y, runs)


def stages_at(attacks: dict[str, Attack], epsilon: float) -> dict[str, Attack]:
    """Each attack at another radius, by its own `with_radius`."""
    return {name: attack.with_radius(epsilon) for name, attack in attacks.items()}  # type: ignore[attr-defined]


def describe_stages(
    settings: dict[str, Any], attacks: dict[str, Attack], classes: int
) -> dict[str, Any]:
    """`settings` with each attack's own description; `instead` collects what had to change."""
    stages = {}
    for name, attack in attacks.items():
        effective = getattr(attack, "effective_settings", None)
        stages[name] = effective(classes) if effective else settings["attacks"][name]
    changes = [f"{name}: {s['instead']}" for name, s in stages.items() if "instead" in s]
    return settings | {"attacks": stages} | ({"instead": "; ".join(changes)} if changes else {})
