"""Several attacks as one: each on the images that the model still gets right."""

from dataclasses import dataclass
from typing import ClassVar

from robustrun.attacks.geometry.ball import Norm
from robustrun.attacks.search.stages import (
    check_stages,
    run_stages,
    settings_of_stages,
    stages_at_radius,
    stages_in_order,
)
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
        check_stages(self)

    __call__ = run_stages
    stages = stages_in_order
    with_radius = stages_at_radius
    effective_settings = settings_of_stages
