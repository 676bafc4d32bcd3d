"""N-FGSM against the loop of de Jorge et al."""

import pytest
import torch
import torch.nn.functional as F

from robustrun.methods.n_fgsm import NFGSM

pytestmark = pytest.mark.device


def test_n_fgsm_steps_from_strong_noise_and_does_not_clip_to_the_ball(assert_golden, golden_step):
    def loss(model, x, y):
        eta = torch.empty(x.shape, dtype=x.dtype, device=x.device).uniform_(-0.1, 0.1)
        eta = torch.max(torch.min(eta, 1 - x), -x).requires_grad_()
        slope = torch.autograd.grad(F.cross_entropy(model(x + eta), y), eta)[0]
        x_adv = (x + eta.detach() + 0.05 * slope.sign()).clamp(0, 1)
        return F.cross_entropy(model(x_adv), y)

    assert_golden(NFGSM("linf", 0.05, 2.0, 0.05, "train"), golden_step(loss))


def test_the_images_leave_the_ball_but_not_the_box(learner, batches):
    x, y = batches[0]
    x_adv = NFGSM("linf", 0.05, 2.0, 0.05, "train").perturb(learner, x, y)
    assert 0.05 < (x_adv - x).abs().max() <= 0.15 + 1e-9
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
