"""Checks of the number: other attacks on what the run's own attack left standing."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.geometry.ball import sphere_start
from robustrun.attacks.pgd import PGD
from robustrun.evaluation import slopes
from robustrun.evaluation.audit.target import (
    AuditTarget,
    Status,
    compare_attack,
    craft_with,
    share_of,
    status_of,
)
from robustrun.evaluation.findings import Check
from robustrun.evaluation.statistics import ONE_SIDED, at_least, exact_interval
from robustrun.types import Rescalable


def enough_images(s: AuditTarget) -> Check:
    """Whether a pass of the other checks excludes anything."""
    total, tolerance = len(s.y), s.settings.tolerance
    _, unseen = exact_interval(0, total)
    needed = math.ceil(math.log(ONE_SIDED) / math.log1p(-tolerance))
    status: Status = "pass" if total >= needed else "warn"
    why = f"That none of {total} images falls excludes no less than a fall of {unseen:.1%} of all."
    if status == "warn":
        why += (
            f" The audit is to find {tolerance:.1%}: give it {needed} images or more "
            "(evaluation.examples, evaluation.audit.examples)."
        )
    return Check("enough_images", status, total, f"at least {needed}", why)


def gradients(s: AuditTarget) -> Check:
    """Standing images at which the attack sees no slope to climb."""
    lost, flat = torch.zeros_like(s.robust), torch.zeros_like(s.robust)
    places = s.robust.nonzero()[:, 0]
    for part in torch.split(places, s.setting.batch_size) if len(places) else ():
        x, y = s.x[part], s.y[part]
        lost[part] = slopes.lost(s.network, x, y, slopes.cross_entropy, s.attack.norm)
        flat[part] = slopes.lost(s.network, x, y, slopes.margins, s.attack.norm)
    extra = int(lost.sum())
    status = status_of(extra, len(s.y), s.settings.tolerance)
    why = (
        f"{extra} of the {len(places)} images left standing have no usable gradient "
        f"({share_of(extra, len(s.y))})"
    )
    if status == "pass":
        why += "."
    elif int(flat.sum()) * 2 > extra:
        why += f": {slopes.BLOCKED}."
    else:
        why += f", although the logits have one: {slopes.SATURATED}."
    return Check("gradients", status, extra / len(s.y), f"at most {s.settings.tolerance:g}", why)


def one_step(s: AuditTarget) -> Check:
    return compare_attack(
        s,
        "one_step",
        craft_with(FGSM(s.norm, s.attack.epsilon), s.model),
        "One step of the size of the ball",
        "one step should not beat many, so the attack climbs a surface that misleads it (masked "
        "gradients). Measure with AutoAttack, and look for what bends the gradient.",
    )


def random_noise(s: AuditTarget) -> Check:
    """Noise at the edge of the ball: the weakest of all attacks."""

    def craft(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        return sphere_start(x, s.attack.norm, s.attack.epsilon, generator)

    fooled, total = s.fooled("random_noise", craft, s.right), len(s.y)
    noise, attack = int(fooled.sum()), int((s.right & ~s.robust).sum())
    only_noise = int((fooled & s.robust).sum())
    only_attack = attack - (noise - only_noise)
    status = status_of(only_noise, total, s.settings.tolerance)
    if status_of(noise, total, s.settings.tolerance) == "fail":
        # Noise does turn images. McNemar (1947): of the images that only one of the two turns,
        # the attack must turn more than a fair coin would give it.
        if at_least(only_attack, only_attack + only_noise) > ONE_SIDED:
            status = "fail"
        elif at_least(noise, attack + only_noise) <= ONE_SIDED and status == "pass":
            status = "warn"  # of all that fall, noise alone turns more than half
    why = f"Noise turns {noise} images, the attack {attack}"
    if status != "pass":
        why += (
            ": the attack hardly searches. Its gradients are useless, or its steps too few or too "
            "small; measure with AutoAttack, and with Square, which needs no gradient."
        )
    accuracy = float((s.right & ~fooled).float().mean())
    return Check("random_noise", status, accuracy, f"well above {s.robust_accuracy:.4g}", why)


def large_radius(s: AuditTarget) -> Check:
    """In a ball that holds a uniformly grey image, every image can be turned into that one."""
    pixels = s.x[0].numel()
    grey = {"linf": 0.5, "l2": 0.5 * math.sqrt(pixels), "l1": 0.5 * pixels}[s.attack.norm]
    radius = max(grey, s.attack.epsilon)
    if not isinstance(s.attack, Rescalable):
        why = "The attack cannot be had at another radius: audit with attack=pgd as well."
        return Check("large_radius", "warn", "not measured", "0", why)
    larger = replace(s, attack=s.attack.with_radius(radius))
    fooled = larger.fooled("large_radius", craft_with(larger.attack, s.model), s.robust)
    left, total = int((s.robust & ~fooled).sum()), len(s.y)
    # One image gets one answer, which is right for the images of one class at most.
    chance = int(torch.bincount(s.y).max())
    status: Status = "pass"
    if left > chance:
        status = "fail"
    elif status_of(left, total, s.settings.tolerance) == "fail":
        status = "warn"
    why = f"At radius {radius:.4g}, where every image can become grey, {left} of {total} stand"
    if status != "pass":
        why += (
            ": the attack misses what is certainly there, at this radius and hence at its own. "
            "Look at its gradients and step size; measure with AutoAttack."
        )
    return Check("large_radius", status, left / total, 0.0, why)


def more_effort(s: AuditTarget) -> Check:
    return compare_attack(
        s,
        "more_effort",
        craft_with(_strong(s, s.settings.restarts), s.model),
        f"PGD with {s.settings.steps} steps and {s.settings.restarts} restarts",
        "the attack has not converged, and the accuracy still falls with effort. Raise "
        "attack.steps and attack.restarts until it stays, or measure with AutoAttack.",
    )


def _strong(s: AuditTarget, restarts: int) -> PGD:
    epsilon, settings = s.attack.epsilon, s.settings
    return PGD(s.norm, epsilon, settings.steps, settings.step * epsilon, restarts, True, "ce")


def logit_scale(s: AuditTarget) -> Check:
    """The same network with logits of unit margin, at which cross-entropy works best."""
    top = s.logits[s.logits.isfinite().all(dim=1)].topk(2, dim=1).values
    scale = float((top[:, 0] - top[:, 1]).mean())
    scaled = Divided(s.model, scale if 0 < scale < math.inf else 1.0)
    return compare_attack(
        s,
        "logit_scale",
        craft_with(_strong(s, 1), scaled),
        f"PGD on logits divided by {scale:.3g}, their mean margin,",
        "the attack is blinded by the scale of the logits, which changes no prediction. Measure "
        "with a loss that it does not change (attack.loss=margin, or AutoAttack).",
    )


class Divided(nn.Module):
    """The same predictions from logits of another scale."""

    def __init__(self, model: nn.Module, by: float) -> None:
        super().__init__()
        self.model, self.by = model, by

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x) / self.by
        return logits


def targeted(s: AuditTarget) -> Check:
    """Honest networks lose some points to it, TRADES 3.5 and MART 7 from PGD-20; 16 is what a
    collapse hides behind (ELLE, 48.9 to 32.5): `gap` lies between."""
    return compare_attack(
        s,
        "targeted",
        craft_with(s.settings.targeted, s.model),
        "The targeted attack with its own step size",
        "the run's attack overlooks what this one finds. Quote AutoAttack, not this number.",
        tolerance=s.settings.gap,
    )


def black_box(s: AuditTarget) -> Check:
    return compare_attack(
        s,
        "black_box",
        craft_with(s.settings.black_box, s.model),
        "Random search, which sees no gradient,",
        "an attack that sees less should not find more, so gradients are masked. Find the layer "
        "that does it and attack around it; quote AutoAttack, which includes Square.",
    )
