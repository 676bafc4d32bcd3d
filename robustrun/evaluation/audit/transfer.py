"""Attack by transfer: images made for another network, which hides nothing."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import sphere_start
from robustrun.attacks.search.ascent import ascend
from robustrun.compute.eager import eager
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.evaluation.audit.target import AuditTarget, compare_attack
from robustrun.evaluation.findings import Check

BATCH = 64  # images at each step of training the surrogate


def transfer(s: AuditTarget) -> Check:
    """Images made for another network, which gives the same answers and hides nothing."""
    surrogate = s.surrogate or imitate(s)
    epsilon, step = s.attack.epsilon, s.settings.step * s.attack.epsilon

    def craft(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        # All steps: images that just fool the one network seldom fool another.
        with attack_mode(surrogate):
            return ascend(
                lambda x_adv: F.cross_entropy(surrogate(x_adv), y, reduction="sum"),
                x,
                x,
                norm=s.attack.norm,
                epsilon=epsilon,
                step_size=step,
                steps=s.settings.steps,
            )

    return compare_attack(
        s,
        "transfer",
        craft,
        "An image made for another network",
        "what is made without seeing the network should not beat an attack that sees it, so its "
        "gradients are masked. Measure with AutoAttack, and with images from other networks.",
    )


def imitate(s: AuditTarget) -> nn.Module:
    """A small network trained on what the audited one answers to the images and noise on them
    (Papernot et al. 2017, https://arxiv.org/abs/1602.02697)."""
    model = _small_network(s.x, s.classes)
    optimizer = eager(torch.optim.AdamW)(model.parameters(), lr=2e-3)
    for _ in range(s.settings.surrogate_steps):
        x = s.x[torch.randint(len(s.x), (BATCH,), device=s.x.device)]
        x = sphere_start(x, s.attack.norm, s.attack.epsilon)
        with torch.no_grad():
            answer = predicted(s.model(x))
        known = answer != NO_ANSWER
        if not known.any():
            continue
        loss = F.cross_entropy(model(x[known]), answer[known])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def _small_network(x: Tensor, classes: int) -> nn.Module:
    """Two convolutions on a grid of at most 32 x 32, and a linear layer."""
    channels, side = x.shape[1], min(x.shape[2:])
    coarser = max(side // 32, 1)
    return nn.Sequential(
        nn.Conv2d(channels, 32, max(coarser, 3), stride=coarser, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64 * 16, classes),
    ).to(x.device)
