"""What logits say: a class, or no answer where they are not finite."""

import torch
from torch import Tensor

NO_ANSWER = -1  # the prediction for an image with a logit that is NaN or infinite


def predicted(logits: Tensor) -> Tensor:
    """Predicted classes of logits N x K, int64 of shape N; NO_ANSWER, which is never right, for
    an image with any logit that is not finite: the largest of such numbers means nothing."""
    return torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), NO_ANSWER)
