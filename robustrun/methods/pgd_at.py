"""PGD adversarial training (Madry et al. 2018, https://arxiv.org/abs/1706.06083), as Rice et al.
(2020, https://arxiv.org/abs/2002.11569) train it."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import check_threat_model
from robustrun.errors import require
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
    label_smoothing: float
    clean_pass: bool
    inner: Inner

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        smoothing = self.label_smoothing
        require(0 <= smoothing < 1, "label_smoothing", smoothing, "at least 0 and below 1")

    def step(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        x_adv = self.perturb(learner.model, x, y)
        loss = self.loss(learner.model, x, x_adv, y)
        learner.update(loss)
        self.after_update(learner.model, x)
        return loss

    def perturb(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self.inner(model, x, y, norm=self.norm, epsilon=self.epsilon)

    def loss(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x_adv), y, label_smoothing=self.label_smoothing)

    def after_update(self, model: nn.Module, x: Tensor) -> None:
        if self.clean_pass:
            with torch.no_grad():
                model(x)  # for the running statistics
