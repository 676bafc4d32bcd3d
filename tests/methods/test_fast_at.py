"""Fast-AT (FGSM-RS) against the loop of Wong et al."""

import pytest
import torch
import torch.nn.functional as F

from robustrun.methods.fast_at import FastAT

pytestmark = pytest.mark.device


@pytest.mark.parametrize("smoothing", [0.0, 0.4])
def test_fast_at_takes_one_long_step_from_a_random_start_in_train_mode(
    assert_golden, golden_step, reference_climb, smoothing
):
    def cross_entropy(logits, y):
        return F.cross_entropy(logits, y, label_smoothing=smoothing)

    def loss(model, x, y):
        noise = torch.empty(x.shape, dtype=x.dtype, device=x.device).uniform_(-0.08, 0.08)
        x_adv = reference_climb(
            lambda z: cross_entropy(model(z), y), x, (x + noise).clamp(0, 1),
            epsilon=0.08, size=0.1, steps=1,
        )  # fmt: skip
        return cross_entropy(model(x_adv), y)

    method = FastAT("linf", 0.08, 0.1, "train")
    assert_golden(method, golden_step(loss), label_smoothing=smoothing)
