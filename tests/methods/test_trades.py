"""TRADES against its authors' formula."""

import pytest
import torch
import torch.nn.functional as F

from robustrun.errors import ConfigError
from robustrun.methods.inner import Inner
from robustrun.methods.trades import TRADES, box_then_ball, steepest_or_random

pytestmark = pytest.mark.device

INNER = Inner("kl", steps=4, step_size=0.02, start="gaussian", start_std=0.001, bn_mode="eval")
L2_INNER = Inner("kl", steps=4, step_size=0.3, start="gaussian", start_std=0.001, bn_mode="eval")


def kl(clean, adversarial):
    p = clean.softmax(1)
    return (p * (clean.log_softmax(1) - adversarial.log_softmax(1))).sum()


def outer(model, x, x_adv, y, beta=6.0):
    """The authors' three forward passes: clean, adversarial, clean."""
    natural = F.cross_entropy(model(x), y)
    adversarial = model(x_adv)
    return natural + beta * kl(model(x), adversarial) / len(x)


def attacked(model, x, reference_climb):
    """The authors' inner attack, in eval mode; the model trains again afterwards."""
    model.eval()
    start = x + 0.001 * torch.randn(x.shape, dtype=x.dtype, device=x.device)
    target = model(x).detach()
    x_adv = reference_climb(
        lambda z: kl(target, model(z)), x, start, epsilon=0.05, size=0.02, steps=4
    )
    model.train()
    return x_adv


def test_trades_is_the_authors_loss_and_batch_norm_sees_clean_adversarial_clean(
    assert_golden, golden_step, reference_climb
):
    def loss(model, x, y):
        x_adv = attacked(model, x, reference_climb)
        return outer(model, x, x_adv, y)

    assert_golden(TRADES(6.0, "linf", 0.05, INNER, "clean"), golden_step(loss))


def test_the_adversarial_images_may_pass_first_as_trades_awp_has_it(
    assert_golden, golden_step, reference_climb
):
    def loss(model, x, y):
        x_adv = attacked(model, x, reference_climb)
        adversarial = model(x_adv)
        natural = F.cross_entropy(model(x), y)
        return natural + 6 * kl(model(x), adversarial) / len(x)

    assert_golden(TRADES(6.0, "linf", 0.05, INNER, "adversarial"), golden_step(loss))
    assert TRADES.ADDED_LATER == {"first_pass": "clean"}


def test_trades_l2_is_the_authors_normalised_ascent(assert_golden, golden_step):
    def loss(model, x, y):
        model.eval()
        delta = 0.001 * torch.randn(x.shape, dtype=x.dtype, device=x.device)
        target = model(x).detach()
        for _ in range(4):
            delta.requires_grad_()
            slope = torch.autograd.grad(kl(target, model(x + delta)), delta)[0]
            # what would stand in for a zero gradient
            torch.randn(x.shape, dtype=x.dtype, device=x.device)
            slope = slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            delta = (x + delta.detach() + 0.3 * slope).clamp(0, 1) - x
            delta = delta.flatten(1).renorm(2, 0, 0.6).view_as(x)
        model.train()
        return outer(model, x, x + delta, y)

    # renorm divides by norm + 1e-7
    assert_golden(TRADES(6.0, "l2", 0.6, L2_INNER, "clean"), golden_step(loss), tolerance=1e-6)


def test_the_gradient_flows_through_both_distributions(learner, batches):
    network = learner.model
    x, y = batches[0]
    x_adv = (x + 0.05).clamp(0, 1)

    def slopes(loss):
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, network.parameters())])

    whole = slopes(TRADES(6.0, "linf", 0.05, INNER, "clean").loss(learner, x, x_adv, y))
    clean, adversarial = network(x), network(x_adv)
    through_clean = slopes(6 / len(x) * kl(clean, adversarial.detach()))
    through_adversarial = slopes(
        F.cross_entropy(network(x), y) + 6 / len(x) * kl(clean.detach(), network(x_adv))
    )
    assert through_clean.abs().max() > 1e-3, "nothing to see: the test would pass without it"
    torch.testing.assert_close(whole, through_clean + through_adversarial)


def test_a_zero_gradient_is_replaced_by_noise_for_l2_only_where_it_is_zero():
    slope = torch.tensor([[[[3.0, 4.0]]], [[[0.0, 0.0]]]])
    direction = steepest_or_random(slope, "l2")
    assert torch.allclose(direction[0].flatten(), torch.tensor([0.6, 0.8]))
    assert direction[1].abs().min() > 0


def test_box_then_ball_ends_in_both_and_at_radius_zero_on_the_image_itself():
    x = torch.rand(4, 1, 5, 5)
    far = x + torch.randn_like(x)
    for epsilon in (0.3, 0.0):
        there = box_then_ball(far, x, "l2", epsilon)
        # float32 rounding of a norm of 25 numbers
        assert (there - x).flatten(1).norm(dim=1).max() <= epsilon + 1e-6
        assert there.min() >= -1e-6
        assert there.max() <= 1 + 1e-6
    assert torch.equal(box_then_ball(x, x, "l2", 0.0), x)


def test_a_kl_ascent_cannot_start_at_the_image_itself():
    with pytest.raises(ConfigError, match="start is 'zero'"):
        Inner("kl", steps=4, step_size=0.02, start="zero", start_std=0.0, bn_mode="eval")
