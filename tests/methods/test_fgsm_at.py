"""FGSM training against Goodfellow et al.'s formula."""

import torch
import torch.nn.functional as F

from robustrun.methods.fgsm_at import FGSMAT
from robustrun.methods.inner import Inner


def test_fgsm_at_weighs_clean_and_one_step_images(assert_golden, golden_step):
    def loss(model, x, y):
        model.eval()
        z = x.clone().requires_grad_()
        slope = torch.autograd.grad(F.cross_entropy(model(z), y), z)[0]
        x_adv = (x + 0.05 * slope.sign()).clamp(0, 1)
        model.train()
        return 0.3 * F.cross_entropy(model(x), y) + 0.7 * F.cross_entropy(model(x_adv), y)

    inner = Inner("ce", steps=1, step_size=0.05, start="zero", start_std=0.0, bn_mode="eval")
    assert_golden(FGSMAT(0.3, "linf", 0.05, inner), golden_step(loss))
