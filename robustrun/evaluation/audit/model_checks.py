"""Checks of the network itself: these hold whatever it is attacked with."""

import torch
from torch import nn

from robustrun.compute.modes import BatchNorm
from robustrun.compute.predictions import (
    NO_ANSWER,
    REPEATABLE,
    are_probabilities,
    logit_difference,
    predicted,
)
from robustrun.evaluation.audit.target import AuditTarget, Status
from robustrun.evaluation.findings import Check
from robustrun.types import Attack, Staged

LONE = 64  # images that are looked at one batch at a time: enough for what holds for any image


def finite_logits(s: AuditTarget) -> Check:
    """An answer that is NaN or infinite is none: every number of the network suffers from it."""
    clean, all_of_them = int((predicted(s.logits) == NO_ANSWER).sum()), int(s.no_answer.sum())
    why = "The logits are finite."
    if all_of_them:
        why = (
            f"{all_of_them} of {len(s.y)} images have logits that are NaN or infinite, {clean} of "
            "them clean, the others under the attack. They count as wrong, but it is unknown what "
            "the network would answer: look for a division by zero, the logarithm of 0 or an "
            "overflow of half precision, correct it, and measure again."
        )
    status: Status = "fail" if all_of_them else "pass"
    return Check("finite_logits", status, all_of_them / len(s.y), 0.0, why)


def softmax_output(s: AuditTarget) -> Check:
    """Cross-entropy takes the logarithm of a softmax: of a second one, if the network has its own,
    and then its gradient fades out (Carlini & Wagner 2017, https://arxiv.org/abs/1608.04644)."""
    share = float(are_probabilities(s.logits).float().mean())
    why = "The network returns logits."
    if share == 1:
        why = (
            "The network returns probabilities, and losses that expect logits lose their gradient: "
            "return what comes before the softmax, and measure again."
        )
    status: Status = "fail" if share == 1 else "pass"
    return Check(
        "softmax_output", status, f"probabilities for {share:.0%} of the images", "logits", why
    )


def randomised(s: AuditTarget) -> Check:
    """An answer that changes is judged on one draw of many, by an attack that saw another."""
    x = s.x[: s.setting.batch_size]
    with torch.no_grad():
        first, *others = [s.network(x).float() for _ in range(s.settings.passes)]
    apart = max(logit_difference(other, first) for other in others)
    status: Status = "pass" if apart <= REPEATABLE else "warn" if averages(s.attack) else "fail"
    why = "The same images get the same logits."
    if status != "pass":
        why = (
            "The same images get other logits at each pass, so the attack follows one draw and is "
            "judged by another: measure with gradients averaged over many passes (AutoAttack's "
            "version rand), or with the randomness held fixed."
        )
    return Check("randomised", status, apart, f"at most {REPEATABLE:g}", why)


def averages(attack: Attack) -> bool:
    """Whether the attack averages its gradients over several passes, in all of its stages."""
    parts = [part for _, part in attack.stages()] if isinstance(attack, Staged) else [attack]
    return all(getattr(part, "eot", 1) > 1 for part in parts)


def train_mode(s: AuditTarget) -> Check:
    """Layers that behave as in training although the network was told to evaluate."""
    kinds = (BatchNorm, nn.modules.dropout._DropoutNd)
    layers = [(name, m) for name, m in s.network.named_modules() if isinstance(m, kinds)]
    stuck = [name or "the network" for name, m in layers if m.training or _without_statistics(m)]
    why = "Batch norm and dropout are in eval mode."
    if stuck:
        why = (
            "These layers use the statistics of the batch or drop units, as in training: call "
            "eval() on all of them, or give the batch norm running statistics, and measure again."
        )
    status: Status = "fail" if stuck else "pass"
    return Check("train_mode", status, ", ".join(stuck) or "none", "none", why)


def _without_statistics(layer: nn.Module) -> bool:
    batch_norm = isinstance(layer, BatchNorm)
    return batch_norm and layer.running_mean is None


def batch_dependence(s: AuditTarget) -> Check:
    """The same images, once with themselves as companions in the batch, once with negatives."""
    x = s.x[:LONE]
    both = []
    for companions in (x, 1.0 - x):
        torch.manual_seed(s.setting.seed)  # a layer that draws numbers is another check's affair
        with torch.no_grad():
            both += [s.network(torch.cat([x, companions]))[: len(x)].float()]
    apart = logit_difference(*both)
    why = "The logits of an image do not depend on the others in its batch."
    if apart > REPEATABLE:
        why = (
            "The logits of an image depend on the others in its batch, so its verdict depends on "
            "what is attacked beside it: use fixed statistics (eval mode), and measure again."
        )
    status: Status = "fail" if apart > REPEATABLE else "pass"
    return Check("batch_dependence", status, apart, f"at most {REPEATABLE:g}", why)


def no_adversary(s: AuditTarget) -> Check:
    """What the other checks would compare with is missing."""
    attack = s.attack
    if not attack.adversarial:
        status: Status = "fail"
        why = (
            "The run is judged by a corruption, which no adversary chose: its accuracy says "
            "nothing about robustness. Choose an attack such as attack=pgd."
        )
    else:
        status = "warn"
        why = (
            "The attack searches no ball of pixels with a radius above 0, so nothing could be "
            "compared with it: audit the network with attack=pgd as well."
        )
    return Check("adversary", status, type(attack).__name__, "an attack in a ball of pixels", why)


MODEL_CHECKS = (finite_logits, softmax_output, randomised, train_mode, batch_dependence)
