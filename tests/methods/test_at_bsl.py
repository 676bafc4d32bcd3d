"""AT-BSL against its authors' formula."""

import pytest
import torch
import torch.nn.functional as F

from robustrun.methods.at_bsl import ATBSL
from robustrun.methods.inner import Inner

pytestmark = pytest.mark.device

COUNTS = torch.tensor([500, 100, 20, 10])


def test_at_bsl_adds_log_counts_in_the_outer_loss_only(assert_golden, golden_step, reference_climb):
    def loss(model, x, y):
        model.eval()
        start = x + 0.001 * torch.randn(x.shape, dtype=x.dtype, device=x.device)
        x_adv = reference_climb(
            lambda z: F.cross_entropy(model(z), y), x, start, epsilon=0.05, size=0.02, steps=4
        )
        model.train()
        return F.cross_entropy(model(x_adv) + COUNTS.double().log().to(x.device), y)

    inner = Inner("ce", steps=4, step_size=0.02, start="gaussian", start_std=0.001, bn_mode="eval")
    # class counts are integers, so their logarithm is taken in float32
    assert_golden(ATBSL("linf", 0.05, inner), golden_step(loss), counts=COUNTS, tolerance=1e-6)
