"""AutoAttack: four attacks without parameters to tune (Croce & Hein 2020,
https://arxiv.org/abs/2003.01690), as https://github.com/fra31/auto-attack runs them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from robustrun.attacks.geometry.ball import Norm
from robustrun.attacks.search.stages import (
    check_stages,
    run_stages,
    settings_of_stages,
    stages_at_radius,
    stages_in_order,
)
from robustrun.errors import require
from robustrun.types import ATTACKS, Attack

Version = Literal["standard", "plus", "rand"]

# What each version consists of, in order, and the effort of each part. The values themselves are
# in the YAML files; a run in which one of these is lower or higher needs another name.
VERSIONS: dict[Version, dict[str, dict[str, Any]]] = {
    "standard": {
        "apgd_ce": {"loss": "ce", "targets": 0, "steps": 100, "restarts": 1, "eot": 1},
        "apgd_t": {"loss": "dlr", "targets": 9, "steps": 100, "restarts": 1, "eot": 1},
        "fab_t": {"targets": 9, "steps": 100, "restarts": 1},
        "square": {"queries": 5000, "restarts": 1},
    },
    "plus": {
        "apgd_ce": {"loss": "ce", "targets": 0, "steps": 100, "restarts": 5, "eot": 1},
        "apgd_dlr": {"loss": "dlr", "targets": 0, "steps": 100, "restarts": 5, "eot": 1},
        "fab": {"targets": 0, "steps": 100, "restarts": 5},
        "square": {"queries": 5000, "restarts": 1},
        "apgd_t": {"loss": "dlr", "targets": 9, "steps": 100, "restarts": 1, "eot": 1},
        "fab_t": {"targets": 9, "steps": 100, "restarts": 1},
    },
    "rand": {
        "apgd_ce": {"loss": "ce", "targets": 0, "steps": 100, "restarts": 1, "eot": 20},
        "apgd_dlr": {"loss": "dlr", "targets": 0, "steps": 100, "restarts": 1, "eot": 20},
    },
}
STANDARD_L1 = {"apgd_ce": {"restarts": 5}, "apgd_t": {"targets": 5}}  # where l1 differs


@ATTACKS.register("autoattack")
@dataclass(frozen=True)
class AutoAttack:
    """APGD on cross-entropy, targeted APGD on the DLR loss, targeted FAB, Square: an image is done
    once one of them fools the model. `plus` adds restarts and the untargeted attacks, `rand`
    averages gradients, for models with noise. Fewer steps, queries or targets: that is an
    `ensemble`.
    """

    norm: Norm
    epsilon: float  # pixel units
    version: Version
    attacks: dict[str, Attack]

    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_stages(self)
        parts = VERSIONS[self.version]
        same = list(self.attacks) == list(parts)
        require(same, "attacks", list(self.attacks), f"{list(parts)}{self._or_an_ensemble()}")
        for name, effort in parts.items():
            differs = self.norm == "l1" and self.version == "standard"
            l1 = STANDARD_L1.get(name, {}) if differs else {}
            for key, value in (effort | l1).items():
                setting = getattr(self.attacks[name], key, None)
                right = f"{value!r}{self._or_an_ensemble()}"
                require(setting == value, f"attacks.{name}.{key}", setting, right)

    def _or_an_ensemble(self) -> str:
        return f" in AutoAttack ({self.version}, {self.norm}); with name=ensemble, as you like"

    __call__ = run_stages
    stages = stages_in_order
    with_radius = stages_at_radius
    effective_settings = settings_of_stages
