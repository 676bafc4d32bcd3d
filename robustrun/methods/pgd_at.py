"""PGD adversarial training (Madry et al. 2018, https://arxiv.org/abs/1706.06083), as Rice et al.
(2020, https://arxiv.org/abs/2002.11569) train it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustrun.attacks.geometry.ball import check_threat_model
from robustrun.methods.inner import Inner
from robustrun.types import METHODS, Learner


@METHODS.register("pgd_at")
@dataclass(frozen=True)
class PGDAT:
    """L = CE(f(x'), y), with x' from PGD; batch norm is in train mode all along.

    `clean_pass`: the authors look at the clean accuracy of each batch after its update, in train
    mode, so that running statistics see clean images too. (They also run f(x') once more at the
    end of the attack, to choose among restarts; with one restart that pass is left out here.)
    """

    norm: Literal["linf", "l2"]
    epsilon: float  # radius in training, pixel units
    clean_pass: bool
    inner: Inner

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        return self.inner(learner.model, x, y, norm=self.norm, epsilon=self.epsilon)

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return learner.cross_entropy(learner.model(x_adv), y)

    def after_update(self, learner: Learner, x: Tensor) -> None:
        if self.clean_pass:
            with torch.no_grad():
                learner.model(x)  # for the running statistics
