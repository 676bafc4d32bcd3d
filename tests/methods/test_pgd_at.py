"""PGD-AT against the loop of Rice et al."""

import pytest
import torch
import torch.nn.functional as F

from robustrun.methods.inner import Inner
from robustrun.methods.pgd_at import PGDAT

pytestmark = pytest.mark.device


def rice(attack, label_smoothing=0.0, clean_pass=True):
    """Everything in train mode; the batch passes once more after its update."""

    def step(model, optimizer, x, y):
        x_adv = attack(model, x, y)
        loss = F.cross_entropy(model(x_adv), y, label_smoothing=label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if clean_pass:
            model(x)
        return loss

    return step


@pytest.mark.parametrize(("smoothing", "clean_pass"), [(0.0, True), (0.4, False)])
def test_pgd_at_is_the_authors_loop(assert_golden, reference_climb, smoothing, clean_pass):
    def attack(model, x, y):
        noise = torch.empty(x.shape, dtype=x.dtype, device=x.device).uniform_(-0.05, 0.05)
        return reference_climb(
            lambda z: F.cross_entropy(model(z), y), x, (x + noise).clamp(0, 1),
            epsilon=0.05, size=0.02, steps=4,
        )  # fmt: skip

    inner = Inner("ce", steps=4, step_size=0.02, start="uniform", start_std=0.0, bn_mode="train")
    method = PGDAT("linf", 0.05, clean_pass, inner)
    assert_golden(method, rice(attack, smoothing, clean_pass), label_smoothing=smoothing)


def test_pgd_at_l2_starts_at_a_random_radius_and_steps_along_the_gradient(assert_golden):
    def attack(model, x, y):
        delta = torch.randn(x.shape, dtype=x.dtype, device=x.device)
        radius = torch.rand(len(x), dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)
        delta *= 0.5 * radius / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        delta = (x + delta).clamp(0, 1) - x
        for _ in range(4):
            delta.requires_grad_()
            slope = torch.autograd.grad(F.cross_entropy(model(x + delta), y), delta)[0]
            slope = slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            delta = (delta.detach() + 0.2 * slope).flatten(1).renorm(2, 0, 0.5).view_as(x)
            delta = (x + delta).clamp(0, 1) - x
        return x + delta

    inner = Inner("ce", steps=4, step_size=0.2, start="uniform", start_std=0.0, bn_mode="train")
    # renorm divides by norm + 1e-7
    assert_golden(PGDAT("l2", 0.5, True, inner), rice(attack), tolerance=1e-6)


@pytest.mark.parametrize("bn_mode", ["eval", "train", "train_frozen"])
def test_the_attack_leaves_running_statistics_alone_unless_the_mode_is_train(
    learner, batches, bn_mode
):
    x, y = batches[0]
    inner = Inner("ce", steps=3, step_size=0.02, start="uniform", start_std=0.0, bn_mode=bn_mode)
    PGDAT("linf", 0.05, True, inner).perturb(learner, x, y)
    assert int(learner.model.norm.num_batches_tracked) == (3 if bn_mode == "train" else 0)
    assert learner.model.training
