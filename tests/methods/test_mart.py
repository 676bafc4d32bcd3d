"""MART against its authors' formula."""

import pytest
import torch
import torch.nn.functional as F

from robustrun.methods.inner import Inner
from robustrun.methods.mart import MART, runner_up_penalty

pytestmark = pytest.mark.device

INNER = Inner("ce", steps=4, step_size=0.02, start="gaussian", start_std=0.001, bn_mode="eval")


def mart_loss(clean, adversarial, y, beta):
    p, q = clean.softmax(1), adversarial.softmax(1)
    rows = torch.arange(len(y), device=y.device)
    others = q.clone()
    others[rows, y] = -1
    runner_up = others.argmax(1)
    boosted = -q[rows, y].log() - (1.0001 - q[rows, runner_up] + 1e-12).log()
    divergence = (p * (p.log() - (q + 1e-12).log())).sum(1)
    return (boosted + beta * divergence * (1.0000001 - p[rows, y])).mean()


def test_mart_is_the_authors_loss(assert_golden, golden_step, reference_climb):
    def loss(model, x, y):
        model.eval()
        start = x + 0.001 * torch.randn(x.shape, dtype=x.dtype, device=x.device)
        x_adv = reference_climb(
            lambda z: F.cross_entropy(model(z), y), x, start, epsilon=0.05, size=0.02, steps=4
        )
        model.train()
        return mart_loss(model(x), model(x_adv), y, beta=5.0)

    assert_golden(MART(5.0, "linf", 0.05, INNER), golden_step(loss))


def test_the_boosted_term_looks_at_the_likeliest_wrong_class_even_where_the_right_one_wins():
    logits = torch.tensor([[4.0, 1.0, 2.0], [0.0, 3.0, 1.0]])
    y = torch.tensor([0, 0])
    p = logits.softmax(1)
    expected = -(
        p[0, 0].log() + (1.0001 - p[0, 2]).log() + p[1, 0].log() + (1.0001 - p[1, 1]).log()
    )
    assert torch.isclose(F.cross_entropy(logits, y) + runner_up_penalty(logits, y), expected / 2)


def test_the_loss_is_finite_when_the_network_is_certain_and_wrong(learner, batches):
    x, y = batches[0]
    with torch.no_grad():
        learner.model.head.weight.mul_(1e4)
    loss = MART(5.0, "linf", 0.05, INNER).loss(learner, x, x, y)
    assert torch.isfinite(loss)
