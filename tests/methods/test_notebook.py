"""The notebook's methods against its cells, in its own units: images in [-1, 1], epsilon 0.1."""

import pytest
import torch
import torch.nn.functional as F

from robustrun.methods import notebook
from robustrun.methods.notebook import (
    NotebookFGSMAT,
    NotebookPAT,
    NotebookRoBal,
    NotebookTRADES,
    fgsm,
    weighted_cross_entropy,
)

CLAMP = (0.5, 1.0)
COUNTS = torch.tensor([500, 100, 20, 10])


def notebook_fgsm(image, epsilon, slope):
    return torch.clamp(image + epsilon * slope.sign(), 0, 1)


class Normalised:
    """The network as the notebook has it: fed with images that are normalised already."""

    def __init__(self, model):
        self.model = model

    def __call__(self, image):
        return self.model((image + 1) / 2)

    def with_features(self, image):
        logits, features = self.model.with_features((image + 1) / 2)
        return logits, features[-1]


def test_fgsm_at_trains_on_clamped_images_alone_once_the_clean_share_is_over(
    assert_golden, golden_step
):
    def loss(model, x, y):
        net, image = Normalised(model), (2 * x - 1).requires_grad_()
        slope = torch.autograd.grad(F.cross_entropy(net(image), y), image)[0]
        return F.cross_entropy(net(notebook_fgsm(image.detach(), 0.1, slope)), y)

    assert_golden(NotebookFGSMAT(0.05, CLAMP, 0.5), golden_step(loss))


def test_fgsm_at_begins_as_standard_training(learner, batches):
    x, y = batches[0]
    learner.batches = 490  # of 1,000
    expected = F.cross_entropy(learner.model(x), y)
    loss = NotebookFGSMAT(0.05, CLAMP, 0.5).step(learner, x, y)
    torch.testing.assert_close(loss, expected)


def test_trades_has_cross_entropy_on_adversarial_images_and_a_constant_target(
    assert_golden, golden_step
):
    def loss(model, x, y):
        net, image = Normalised(model), (2 * x - 1).requires_grad_()
        clean = net(image)
        slope = torch.autograd.grad(F.cross_entropy(clean, y), image)[0]
        adversarial = net(notebook_fgsm(image.detach(), 0.1, slope))
        p = clean.detach().softmax(1)
        divergence = (p * (p.log() - adversarial.log_softmax(1))).sum() / len(x)
        return F.cross_entropy(adversarial, y) + 1.7 * divergence

    assert_golden(NotebookTRADES(1.7, 0.05, CLAMP), golden_step(loss))


def pat_cell(epsilon, zeroed):
    """The notebook's loop; `zeroed`: with its in-place zero_ on the gradient's own memory."""

    def step(model, optimizer, x, y):
        net, image = Normalised(model), (2 * x - 1).requires_grad_()
        optimizer.zero_grad()
        logits, features = net.with_features(image)
        clean = F.cross_entropy(logits, y)
        clean.backward(retain_graph=True)
        slope = image.grad.data if zeroed else image.grad.data.clone()
        image.grad.zero_()
        if not zeroed:  # the formula: the clean gradient counts once
            optimizer.zero_grad()
        _, features_adv = net.with_features(notebook_fgsm(image, epsilon, slope).detach())
        rows = (features - features_adv + 1e-6).pow(2).sum(-1).sqrt()
        loss = clean + 1.5 * rows.mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_pat_adds_the_distance_of_features_row_by_row(assert_golden):
    assert_golden(NotebookPAT(1.5, 0.05, CLAMP, 1), pat_cell(0.1, zeroed=False))


def test_two_clean_gradients_and_epsilon_zero_are_what_the_notebooks_cell_does(assert_golden):
    assert_golden(NotebookPAT(1.5, 0.0, CLAMP, 2), pat_cell(0.1, zeroed=True))


def test_robal_weighs_clean_and_adversarial_cross_entropy_by_rarity(assert_golden, golden_step):
    weights = 1.0 / (COUNTS.double() + 1.0)
    weights = 4 * weights / weights.sum()

    def loss(model, x, y):
        net, image = Normalised(model), (2 * x - 1).requires_grad_()
        clean = F.cross_entropy(net(image), y, weight=weights)
        slope = torch.autograd.grad(clean, image, retain_graph=True)[0]
        adversarial = net(notebook_fgsm(image.detach(), 0.1, slope))
        return clean + F.cross_entropy(adversarial, y, weight=weights)

    assert_golden(NotebookRoBal(0.05, CLAMP), golden_step(loss), counts=COUNTS)


@pytest.mark.parametrize("clamp", [CLAMP, (0.0, 1.0)])
def test_the_notebooks_clamp_leaves_the_ball_and_the_images_own_clamp_does_not(clamp):
    x = torch.tensor([[0.1, 0.6, 0.99]]).requires_grad_()
    x_adv = fgsm((x * torch.tensor([1.0, -1.0, 1.0])).sum(), x, 0.05, clamp)
    dark = 0.5 if clamp == CLAMP else 0.15
    torch.testing.assert_close(x_adv, torch.tensor([[dark, 0.55, 1.0]]))
    assert not x_adv.requires_grad


def test_a_weighted_loss_of_a_part_of_a_batch_has_the_weights_of_the_whole(monkeypatch):
    """Two processes with a row each: their mean is the mean over both rows."""
    logits, y = torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([0, 0])
    weights = torch.tensor([0.5, 1.5])
    y[1] = 1
    whole = weighted_cross_entropy(logits, y, weights)
    each = F.cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(whole, (0.5 * each[0] + 1.5 * each[1]) / 2)
    monkeypatch.setattr(notebook, "share", lambda: 0.5)
    monkeypatch.setattr(notebook, "batch_mean", lambda mine: torch.tensor(1.0))  # of 0.5 and 1.5
    parts = [weighted_cross_entropy(logits[[row]], y[[row]], weights) for row in (0, 1)]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole)
