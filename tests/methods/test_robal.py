"""RoBal against its authors' code: head, margins, inner attack and the order of the passes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustrun.errors import ConfigError
from robustrun.methods.inner import Inner
from robustrun.methods.robal import CosineHead, RoBal, cosine_head
from robustrun.training.weight_perturbation import WeightPerturbation
from tests.learners import sgd_learner

INNER = Inner("ce", steps=3, step_size=0.02, start="one_sided", start_std=0.0, bn_mode="eval")
CIFAR10_LT = torch.tensor([5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100])  # ratio 0.02
COUNTS = torch.tensor([500, 100, 20, 10])


def robal(**changes):
    settings = {
        "beta": 6.0, "scale": 10.0, "gamma": 0.03125, "margin": 0.1, "tau_m": 0.3, "tau_b": 1.5,
        "tau_p": 0.7, "norm": "linf", "epsilon": 0.05, "inner": INNER,
    }  # fmt: skip
    return RoBal(**settings | changes)


def cosines(model, x):
    """The authors' classifier at scale 1, from the features that enter the head."""
    seen = []
    handle = model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(x)
    handle.remove()
    weight = model.head.weight
    weight = weight / (weight.norm(dim=1, keepdim=True) + 0.03125)
    return seen[0] / seen[0].norm(dim=1, keepdim=True) @ weight.T


def test_robal_is_the_authors_loss_and_batch_norm_sees_each_batch_twice(
    assert_golden, golden_step, reference_climb, network
):
    counts = COUNTS.double()
    margins = 0.1 + 0.3 * (counts / counts.min()).log() / 10
    prior = (counts / counts.sum()).log()

    def loss(model, x, y):
        model.eval()
        start = x + 0.05 * torch.rand(x.shape, dtype=x.dtype)
        x_adv = reference_climb(
            lambda z: F.cross_entropy(cosines(model, z), y), x, start,
            epsilon=0.05, size=0.02, steps=3,
        )  # fmt: skip
        model.train()
        logits = cosines(model, x_adv)
        logits = 10 * (logits - F.one_hot(y, 4) * margins) + 1.5 * prior
        total = F.cross_entropy(logits, y)
        model(x)  # the natural loss, whose weight is 0
        p, q = cosines(model, x).softmax(1), cosines(model, x_adv).softmax(1)
        return total + 6 * (p * (p.log() - q.log())).sum() / len(x)

    method = robal()
    model = method.adapt(network, COUNTS).double()
    # log_prior is kept in float32; it enters the cosines divided by the scale
    assert_golden(method, golden_step(loss), model=model, tolerance=2e-6)


def test_robal_r_gives_the_head_the_larger_margin():
    log_prior = (CIFAR10_LT / CIFAR10_LT.sum()).log()
    margins = robal(margin=0.1, tau_m=0.3).margins(log_prior)
    assert margins[0] == pytest.approx(0.217, abs=5e-4)  # published to three digits
    assert margins[-1] == pytest.approx(0.100, abs=1e-6)
    assert (margins.diff() < 0).all()


def test_the_network_deploys_scaled_cosines_less_the_prior_in_both_modes(network, batches):
    model = robal(tau_p=0.7).adapt(network, COUNTS).double()
    x, _ = batches[0]
    prior = (COUNTS.double() / COUNTS.sum()).log()
    for training in (True, False):
        model.train(training)
        # log_prior is kept in float32
        torch.testing.assert_close(
            model(x), 10 * cosines(model, x) - 0.7 * prior, rtol=1e-6, atol=1e-6
        )
        torch.testing.assert_close(
            cosine_head(model).cosines(model(x)), cosines(model, x), rtol=1e-6, atol=1e-6
        )


def test_a_cosine_never_exceeds_one_and_gamma_keeps_short_weights_below_it():
    head = CosineHead(6, COUNTS, scale=10.0, gamma=0.03125, tau_p=0.0)
    with torch.no_grad():
        head.weight[0].mul_(1e-4)
    logits = head(torch.randn(50, 6) * 100)
    assert logits.abs().max() <= 10
    assert logits[:, 0].abs().max() < 0.1


def test_the_inner_attack_starts_on_one_side(network, batches):
    """U(0, 1), not U(-1, 1): with no step to speak of, every pixel has grown."""
    x, y = batches[0]
    still = Inner("ce", steps=1, step_size=0.0, start="one_sided", start_std=0.0, bn_mode="eval")
    method = robal(inner=still)
    x_adv = method.perturb(sgd_learner(method.adapt(network, COUNTS).double()), x, y)
    assert (x_adv >= x).all()
    assert (x_adv > x).any()


def test_adapt_replaces_the_last_linear_layer_only(network):
    hidden = network.hidden
    model = robal().adapt(network, COUNTS)
    assert isinstance(model.head, CosineHead)
    assert model.head.weight.shape == (4, 6)
    assert model.hidden is hidden


def test_a_new_head_begins_as_a_linear_layer_does():
    """Uniformly within 1 / sqrt(features), as torch has it."""
    weight = CosineHead(400, torch.ones(10), 10.0, 0.03, 0.7).weight.detach()
    assert 0.0499 < weight.abs().max() <= 0.05
    assert weight.std() == pytest.approx(0.05 / 3**0.5, rel=0.05)  # 4,000 draws: 1% of it


def test_adapt_reaches_into_nested_networks_and_bare_layers():
    nested = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 4)))
    assert robal().adapt(nested, COUNTS)(torch.rand(2, 1, 3, 3)).shape == (2, 4)
    assert isinstance(nested[1][2], CosineHead)
    assert isinstance(robal().adapt(nn.Linear(9, 4), COUNTS), CosineHead)


def test_the_head_travels_with_the_weights(network, batches):
    """An evaluation elsewhere adapts to the same counts, or to none it knows, then loads."""
    x, _ = batches[0]
    method = robal()
    model = method.adapt(network, COUNTS).double().eval()
    state = model.state_dict()
    import copy

    other = copy.deepcopy(model)
    with torch.no_grad():
        for value in other.state_dict().values():
            value.zero_()
    other.load_state_dict(state)
    torch.testing.assert_close(other(x), model(x))


def test_adapt_refuses_a_network_without_a_linear_head_and_classes_without_images():
    with pytest.raises(ConfigError, match="has none"):
        robal().adapt(nn.Conv2d(1, 4, 3), COUNTS)
    with pytest.raises(ConfigError, match="7 outputs for 4 classes"):
        robal().adapt(nn.Linear(9, 7), COUNTS)
    with pytest.raises(ConfigError, match="no training images"):
        robal().adapt(nn.Linear(9, 4), torch.tensor([5, 0, 3, 1]))


def test_the_weights_of_robals_head_are_perturbed_too(network, batches):
    method = robal()
    model = method.adapt(network, COUNTS).double()
    x, y = batches[0]
    loss = method.loss(sgd_learner(model), x, x, y)
    deltas = WeightPerturbation(0.01, 0.0).deltas(model, loss)
    assert any(w is model.head.weight for w, _ in deltas)
