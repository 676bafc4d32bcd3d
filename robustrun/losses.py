"""Losses that attacks and training methods share, on logits N x K and labels N."""

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-12  # keeps the ratio of equal logits finite


def kl_divergence(clean: Tensor, adversarial: Tensor) -> Tensor:
    """(1/N) sum KL(softmax(clean) || softmax(adversarial)), differentiable in both arguments."""
    return F.kl_div(
        F.log_softmax(adversarial, dim=1),
        F.log_softmax(clean, dim=1),
        reduction="batchmean",
        log_target=True,
    )


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Largest wrong logit minus the right one, per example: positive where the model errs."""
    right = logits.gather(1, y[:, None]).squeeze(1)
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return wrong - right


def scaled_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy per example, of logits over the size of their `margin`, which counts as a
    constant: no softmax is saturated, whatever the scale of the logits (MIFPE, Yu & Xu, AAAI 2023;
    studied in https://arxiv.org/abs/2507.22428)."""
    size = margin(logits, y).detach().abs().clamp_min(TINY)
    return F.cross_entropy(logits / size[:, None], y, reduction="none")


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference-of-logits ratio per example: `margin` over the logits' 1st minus 3rd; K >= 3.

    Shifting and scaling the logits change nothing (Croce & Hein 2020,
    https://arxiv.org/abs/2003.01690, section 4).
    """
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + TINY)


def dlr_targeted(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """The same towards `target`: `gap` over the 1st minus the mean of 3rd and 4th; K >= 4."""
    top = logits.topk(4, dim=1).values
    return gap(logits, y, target) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + TINY)


def gap(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """The logit of `target` minus that of `y`, per example."""
    return (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None])).squeeze(1)
