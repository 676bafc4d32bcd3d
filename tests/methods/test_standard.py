"""Standard training."""

import torch.nn.functional as F

from robustrun.methods.standard import Standard


def test_standard_is_cross_entropy_on_clean_images(assert_golden, golden_step):
    assert_golden(Standard(), golden_step(lambda model, x, y: F.cross_entropy(model(x), y)))
