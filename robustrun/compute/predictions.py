"""What logits say: a class, or no answer where they are not finite."""

import math

import torch
from torch import Tensor

TINY = 1e-12  # keeps a ratio of zeros finite
# How far the logits of the same images may part, as a share of the largest: float32 sums in
# another order differ by 1e-6, TF32 products by up to 1e-3; layers that draw numbers by far more.
REPEATABLE = 2e-3
SUMS_TO_ONE = 1e-4  # above the rounding of a float32 softmax over 1,000 classes
NO_ANSWER = -1  # the prediction for an image with a logit that is NaN or infinite


def predicted(logits: Tensor) -> Tensor:
    """Predicted classes of logits N x K, int64 of shape N; NO_ANSWER, which is never right, for
    an image with any logit that is not finite: the largest of such numbers means nothing."""
    return torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), NO_ANSWER)


def are_probabilities(logits: Tensor) -> Tensor:
    """Whether the answers N x K are those of a softmax, bool of shape N."""
    sums = (logits.sum(dim=1) - 1).abs() <= SUMS_TO_ONE
    return sums & (logits >= -SUMS_TO_ONE).all(dim=1)


def logit_difference(one: Tensor, other: Tensor) -> float:
    """The largest difference of logits, as a share of the largest logit; infinite where a logit is
    finite in one of the two only. Where it is in neither, they are the same."""
    finite = other.isfinite()
    if not torch.equal(one.isfinite(), finite):
        return math.inf
    one, other = one.where(finite, 0.0), other.where(finite, 0.0)
    return float((one - other).abs().max()) / max(float(other.abs().max()), TINY)
