"""Where the network's gradient with respect to the image is zero: an attack that follows it is
blind there, and what it leaves standing was never searched.
"""

import logging
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.geometry.ball import TINY, l2_norm
from robustrun.attacks.mi_fgsm import MIFGSM
from robustrun.attacks.search.ascent import input_gradient
from robustrun.compute.modes import attack_mode
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.setting import Setting
from robustrun.losses import margin
from robustrun.models.trial import follows_gradient
from robustrun.types import Attack

log = logging.getLogger(__name__)
LOOKED_AT = 64  # standing images, spread over all of them
SHARE = 0.1  # of these, from which on it is said
BLOCKED = (
    "a layer lets none through (rounding, JPEG, detach, argmax). Measure with attack=square, or "
    "with that layer replaced by the identity backwards (BPDA)"
)
SATURATED = (
    "the softmax is saturated by the scale of the logits. Measure with a loss that scale does not "
    "change (attack.loss=margin, or attack=autoattack)"
)

Loss = Callable[[Tensor, Tensor], Tensor]  # logits N x K, labels N -> a sum over the batch


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits, y, reduction="sum")


def margins(logits: Tensor, y: Tensor) -> Tensor:
    return margin(logits, y).sum()


def lost(network: nn.Module, x: Tensor, y: Tensor, loss: Loss, norm: str) -> Tensor:
    """Where the gradient of `loss` is zero or not finite, bool of shape N; for l2, too small to be
    normalised as well. The network's mode is restored."""
    with attack_mode(network):
        x = x.detach().clone().requires_grad_()
        # Where no gradient comes back, zero does.
        slope = input_gradient(loss(network(x), y) + 0.0 * x.sum(), x)
    smallest = TINY if norm == "l2" else 0.0
    finite = slope.flatten(1).isfinite().all(dim=1)
    return ~finite | (l2_norm(slope).flatten() <= smallest)


def warn_of_lost(
    attack: Attack, name: str, robust: np.ndarray, subject: Subject, setting: Setting
) -> None:
    """A warning where `attack`, which left the images `robust` standing, follows a gradient that is
    zero for many of them."""
    standing = np.flatnonzero(robust)
    if not follows_gradient(attack) or not len(standing):
        return
    count = min(len(standing), LOOKED_AT, setting.batch_size)
    places = torch.from_numpy(standing[np.arange(count) * len(standing) // count])
    x, y = next(subject.images.subset(places).batches(count, device=setting.device))
    cuda = [setting.device] if setting.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        found = _blind(attack, subject.network, x, y)
    if found is not None:
        log.warning(
            "%s: %d of %d images (of the %d left standing) have a gradient of zero, so it had "
            "nothing to follow there and robust accuracy may be far too high: %s.",
            *(name, found[0], count, len(standing), found[1]),
        )


def _blind(attack: Attack, network: nn.Module, x: Tensor, y: Tensor) -> tuple[int, str] | None:
    """(how many images the attack has no gradient at, why) where they are many; None where answers
    do not depend on the image either: then no attack turns them."""
    blocked = int(lost(network, x, y, margins, attack.norm).sum())
    if blocked >= SHARE * len(x):
        with torch.no_grad():
            apart = network(x) != network(1 - x)
        return (blocked, BLOCKED) if bool(apart.any()) else None
    if not _climbs_cross_entropy(attack):
        return None
    saturated = int(lost(network, x, y, cross_entropy, attack.norm).sum())
    return (saturated, SATURATED) if saturated >= SHARE * len(x) else None


def _climbs_cross_entropy(attack: Attack) -> bool:
    return isinstance(attack, FGSM | MIFGSM) or getattr(attack, "loss", None) == "ce"
