"""What an attack returned and left behind, checked: ball, box, finiteness, an untouched model."""

from typing import Any

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import distance
from robustrun.models.trial import same_values
from robustrun.types import Attack


def check_images(attack: Attack, name: str, x: Tensor, x_adv: Tensor) -> None:
    """Raise RuntimeError unless `x_adv` is finite, in the image box and, if promised, the ball."""
    if x_adv.shape != x.shape or not torch.isfinite(x_adv).all():
        raise RuntimeError(f"attack {name} returned images that are not finite or of wrong shape")
    if len(x) and (x_adv.min() < 0 or x_adv.max() > 1):
        raise RuntimeError(f"attack {name} left the image box [0, 1]")
    if attack.bounded and len(x):
        furthest = float(distance(x_adv, x, attack.norm).max())
        # float32 images: each pixel is rounded by up to 6e-8, and an l1 norm sums such errors.
        rounding = 6e-8 * (x[0].numel() if attack.norm == "l1" else 1)
        if furthest > attack.epsilon * (1 + 1e-5) + max(rounding, 1e-6):
            raise RuntimeError(
                f"attack {name} left its ball: {attack.norm} distance {furthest:.6g}, "
                f"allowed {attack.epsilon:.6g}"
            )


def model_state(model: nn.Module) -> tuple[list[Tensor], list[bool], list[Tensor | None]]:
    buffers = [b.detach().clone() for b in model.buffers()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return buffers, [m.training for m in model.modules()], gradients


def check_untouched(model: nn.Module, before: Any, name: str) -> None:
    buffers, modes, gradients = model_state(model)
    if modes != before[1]:
        raise RuntimeError(f"attack {name} changed the mode of the model")
    if not all(map(same_values, buffers, before[0])):
        raise RuntimeError(f"attack {name} changed buffers of the model (batch statistics?)")
    for now, then in zip(gradients, before[2], strict=True):
        changed = (now is None) != (then is None)
        if changed or (now is not None and then is not None and not same_values(now, then)):
            raise RuntimeError(f"attack {name} left gradients in the model's parameters")
