"""RoBal, adversarial training on long-tailed data (Wu et al. 2021, https://arxiv.org/abs/2104.02703)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import check_threat_model
from robustrun.errors import ConfigError, require
from robustrun.losses import kl_divergence
from robustrun.methods.batch_norm import passage
from robustrun.methods.inner import Inner
from robustrun.types import METHODS, Learner


class CosineHead(nn.Module):
    """Logits scale * cos(x, w_i) - tau_p * log(n_i / N), each w_i's norm raised by gamma.

    These are the logits that are deployed and attacked, in train and in eval mode; the bare
    cosines that RoBal trains on are recovered from them (`cosines`).
    """

    log_prior: Tensor  # log(n_i / N)

    def __init__(
        self, features: int, class_counts: Tensor, scale: float, gamma: float, tau_p: float
    ) -> None:
        super().__init__()
        counts = class_counts.double().cpu()
        self.scale, self.gamma, self.tau_p = scale, gamma, tau_p
        self.weight = nn.Parameter(torch.empty(len(counts), features))
        bound = 1 / math.sqrt(features)
        nn.init.uniform_(self.weight, -bound, bound)
        self.register_buffer("log_prior", (counts / counts.sum()).log().float())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / (self.weight.norm(dim=1, keepdim=True) + self.gamma)
        return self.scale * F.linear(F.normalize(x, dim=1), weight) - self.tau_p * self.log_prior

    def cosines(self, logits: Tensor) -> Tensor:
        return (logits + self.tau_p * self.log_prior) / self.scale


@METHODS.register("robal")
@dataclass(frozen=True)
class RoBal:
    """L = CE(scale * (c(x') - m_y at y) + tau_b * log(n / N), y) + beta * mean KL(c(x) || c(x')).

    c are the cosines of a normalised classifier, the margins m_i = margin + tau_m *
    log(n_i / n_min) / scale, and both distributions of the KL term are the softmax of bare
    cosines. x' climbs the cross-entropy of bare cosines. At inference a prior is taken off the
    logits (tau_p). The authors' schedule multiplies the rate again every epoch after a milestone,
    so that their training all but ends at epoch 63 of 80; here each milestone counts once.
    """

    beta: float  # weight of the KL term
    scale: float  # s: logits per unit of cosine
    gamma: float  # added to the norm of each class's weights
    margin: float  # m0: margin of the rarest class, in units of cosine
    tau_m: float  # how fast margins grow with the class size
    tau_b: float  # how much of the log prior is added to the logits in training
    tau_p: float  # how much of the log prior is taken off the logits at inference
    norm: Literal["linf", "l2"]
    epsilon: float  # radius in training, pixel units
    inner: Inner

    def __post_init__(self) -> None:
        check_threat_model(self.norm, self.epsilon)
        require(self.scale > 0, "scale", self.scale, "above 0")
        for key in ("beta", "gamma", "margin", "tau_m", "tau_b", "tau_p"):
            require(getattr(self, key) >= 0, key, getattr(self, key), ">= 0")

    def adapt(self, model: nn.Module, class_counts: Tensor) -> nn.Module:
        """Put a cosine head in the place of the network's last linear layer."""
        if not bool((class_counts > 0).all()):
            raise ConfigError(
                "method.name is robal, which weighs classes by their size, but a class has no "
                f"training images (counts: {class_counts.tolist()})."
            )
        name, last = last_linear(model)
        if last.out_features != len(class_counts):
            raise ConfigError(
                f"method.name is robal, which replaces the network's last linear layer, but that "
                f"one ({name}) has {last.out_features} outputs for {len(class_counts)} classes. "
                "Choose a model that ends in a linear layer."
            )
        head = CosineHead(last.in_features, class_counts, self.scale, self.gamma, self.tau_p)
        return replaced(model, name, head.to(last.weight.device))

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        model, head = learner.model, cosine_head(learner.model)
        return self.inner(
            model,
            x,
            y,
            norm=self.norm,
            epsilon=self.epsilon,
            logits=lambda x_adv: head.cosines(model(x_adv)),
        )

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        model, head = learner.model, cosine_head(learner.model)
        with passage(model) as adversarial_pass:
            adversarial = head.cosines(model(x_adv))
        with passage(model) as clean_pass:
            clean = head.cosines(model(x))
        clean_pass.again()  # the authors run each batch twice: adversarial, clean, clean,
        adversarial_pass.again()  # adversarial is what batch norm sees
        with_margins = learner.cross_entropy(self.logits(adversarial, y, head.log_prior), y)
        return with_margins + self.beta * kl_divergence(clean, adversarial)

    def logits(self, cosines: Tensor, y: Tensor, log_prior: Tensor) -> Tensor:
        """What the cross-entropy is computed from: cosines less their class's margin, scaled, with
        a part of the log prior."""
        mine = F.one_hot(y, cosines.shape[1]) * self.margins(log_prior)
        return self.scale * (cosines - mine) + self.tau_b * log_prior

    def margins(self, log_prior: Tensor) -> Tensor:
        """One margin per class: the larger the class, the larger its margin."""
        return self.margin + self.tau_m * (log_prior - log_prior.min()) / self.scale


def cosine_head(model: nn.Module) -> CosineHead:
    """The head that `adapt` put into the network."""
    return next(m for m in model.modules() if isinstance(m, CosineHead))


def last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    """The last linear layer in the order of definition, with its name inside the network."""
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not layers:
        raise ConfigError(
            "method.name is robal, which replaces the network's last linear layer, but this "
            "network has none. Choose a model that ends in a linear layer."
        )
    return layers[-1]


def replaced(model: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """The network with `module` in the place of the sub-module called `name`."""
    if not name:
        return module
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)
    return model
