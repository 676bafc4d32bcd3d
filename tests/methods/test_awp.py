"""AWP against its authors' way: a second network that takes one SGD step."""

import copy

import pytest
import torch
import torch.nn.functional as F

from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.errors import ConfigError
from robustrun.methods.awp import AWP
from robustrun.methods.inner import Inner
from robustrun.methods.pgd_at import PGDAT
from robustrun.methods.standard import Standard
from robustrun.methods.trades import TRADES

EVAL = Inner("ce", steps=3, step_size=0.02, start="uniform", start_std=0.0, bn_mode="eval")
BASE = PGDAT("linf", 0.05, 0.0, True, EVAL)
GAMMA = 0.02
# The authors undo the perturbation after the optimizer's step: a decay of lr * 5e-3 * gamma of each
# weight, per step, that this code does not have.
WEIGHT_DECAY_OF_THE_PERTURBATION = 5e-5


def awp_step(attack, loss_of, after=lambda model, x: None, undo="after the step"):
    def step(model, optimizer, x, y):
        x_adv = attack(model, x, y)
        proxy = copy.deepcopy(model)
        for p in proxy.parameters():
            p.grad = None
        (-loss_of(proxy, x, x_adv, y)).backward()
        torch.optim.SGD(proxy.parameters(), lr=0.01).step()
        steps = {}
        for (name, w), moved in zip(model.named_parameters(), proxy.parameters(), strict=True):
            if "weight" in name and w.dim() > 1:
                difference = moved.detach() - w.detach()
                steps[name] = w.detach().norm() / (difference.norm() + 1e-20) * difference
        named = dict(model.named_parameters())
        with torch.no_grad():
            for name, d in steps.items():
                named[name].add_(GAMMA * d)
        loss = loss_of(model, x, x_adv, y)
        optimizer.zero_grad()
        loss.backward()
        if undo == "after the step":
            optimizer.step()
        with torch.no_grad():
            for name, d in steps.items():
                named[name].sub_(GAMMA * d)
        if undo == "before the step":
            optimizer.step()
        after(model, x)
        return loss

    return step


def pgd(reference_climb):
    def attack(model, x, y):
        model.eval()
        noise = torch.empty(x.shape, dtype=x.dtype).uniform_(-0.05, 0.05)
        x_adv = reference_climb(
            lambda z: F.cross_entropy(model(z), y), x, (x + noise).clamp(0, 1),
            epsilon=0.05, size=0.02, steps=3,
        )  # fmt: skip
        model.train()
        return x_adv

    return attack


def test_at_awp_is_the_authors_step_with_a_proxy(assert_golden, reference_climb):
    reference = awp_step(
        pgd(reference_climb),
        lambda model, x, x_adv, y: F.cross_entropy(model(x_adv), y),
        after=lambda model, x: model(x),
    )
    assert_golden(AWP(BASE, GAMMA, 0.0), reference, tolerance=WEIGHT_DECAY_OF_THE_PERTURBATION)


@pytest.mark.parametrize("first_pass", ["adversarial", "clean"])
def test_trades_awp_is_the_authors_step_and_batch_norm_sees_adversarial_clean_clean(
    assert_golden, reference_climb, first_pass
):
    def divergence(p, q):
        return (p.softmax(1) * (p.log_softmax(1) - q.log_softmax(1))).sum()

    def attack(model, x, y):
        model.eval()
        start = x + 0.001 * torch.randn(x.shape, dtype=x.dtype)
        target = model(x).detach()
        x_adv = reference_climb(
            lambda z: divergence(target, model(z)), x, start, epsilon=0.05, size=0.02, steps=3
        )
        model.train()
        return x_adv

    def loss_of(model, x, x_adv, y):
        if first_pass == "clean":  # TRADES
            natural, adversarial, target = model(x), model(x_adv), model(x)
        else:  # TRADES-AWP
            adversarial, target, natural = model(x_adv), model(x), model(x)
        return F.cross_entropy(natural, y) + 6 * divergence(target, adversarial) / len(x)

    inner = Inner("kl", steps=3, step_size=0.02, start="gaussian", start_std=0.001, bn_mode="eval")
    method = AWP(TRADES(6.0, "linf", 0.05, inner, first_pass), GAMMA, 0.0)
    reference = awp_step(attack, loss_of, undo="before the step")
    model = assert_golden(method, reference).model
    assert int(model.norm.num_batches_tracked) == 9  # three passes of each of three batches
    assert compose_method("trades_awp").base.first_pass == "adversarial"
    assert compose_method("trades").first_pass == "clean"


def compose_method(name):
    return load_config(compose_config([f"method={name}"])).method


def test_the_perturbation_goes_up_the_loss(network, batches):
    """Against a sign error that both sides of the golden test could share."""
    x, y = batches[0]
    method = AWP(BASE, GAMMA, 0.0)
    before = BASE.loss(network, x, x, y)
    with torch.no_grad():
        for w, d in method.perturbation(network, before):
            w.add_(d)
    assert BASE.loss(network, x, x, y) > before + 0.01


def test_each_weight_moves_by_gamma_of_its_norm_and_vectors_stay(network, batches):
    x, y = batches[0]
    deltas = AWP(BASE, GAMMA, 0.0).perturbation(network, BASE.loss(network, x, x, y))
    weights = [network.convolution.weight, network.hidden.weight, network.head.weight]
    assert [id(w) for w, _ in deltas] == [id(w) for w in weights]
    for w, d in deltas:
        torch.testing.assert_close(d.norm(), GAMMA * w.norm())


def test_weights_are_restored_exactly_before_the_optimizer_moves_them(learner, batches):
    before = copy.deepcopy(learner.model.state_dict())
    seen = []
    learner.apply = lambda: seen.append(copy.deepcopy(learner.model.state_dict()))
    AWP(BASE, GAMMA, 0.0).step(learner, *batches[0])
    for name in ("convolution.weight", "hidden.weight", "head.weight", "head.bias"):
        assert torch.equal(seen[0][name], before[name])


def test_weights_are_restored_when_the_step_fails(learner, batches):
    before = copy.deepcopy(learner.model.state_dict())

    def fail(loss):
        raise RuntimeError("out of memory")

    learner.backward = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        AWP(BASE, GAMMA, 0.0).step(learner, *batches[0])
    assert torch.equal(learner.model.head.weight, before["head.weight"])
    assert all(m.track_running_stats for m in (learner.model.norm, learner.model.norm1d))


def test_batch_norm_does_not_see_the_pass_that_finds_the_perturbation(learner, batches):
    AWP(BASE, GAMMA, 0.0).step(learner, *batches[0])
    assert int(learner.model.norm.num_batches_tracked) == 2  # the loss, and PGD-AT's clean pass


def test_during_the_warm_up_awp_is_its_base_method(learner, batches):
    other = copy.deepcopy(learner)  # its optimizer holds the copy's parameters
    learner.progress = 0.04
    torch.manual_seed(0)
    AWP(BASE, GAMMA, 0.045).step(learner, *batches[0])
    torch.manual_seed(0)
    BASE.step(other, *batches[0])
    for a, b in zip(learner.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_trades_awp_perturbs_by_the_whole_trades_loss(network, batches):
    x, y = batches[0]
    inner = Inner("kl", steps=2, step_size=0.02, start="gaussian", start_std=0.001, bn_mode="eval")
    base = TRADES(6.0, "linf", 0.05, inner, "adversarial")
    x_adv = base.perturb(network, x, y)
    p, q = network(x), network(x_adv)
    kl = (p.softmax(1) * (p.log_softmax(1) - q.log_softmax(1))).sum() / len(x)
    slope = torch.autograd.grad(F.cross_entropy(p, y) + 6 * kl, network.head.weight)[0]
    deltas = AWP(base, GAMMA, 0.0).perturbation(network, base.loss(network, x, x_adv, y))
    expected = GAMMA * network.head.weight.detach().norm() * slope / slope.norm()
    torch.testing.assert_close(deltas[-1][1], expected)


def test_a_base_method_that_has_no_halves_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"base\.name .*Standard"):
        AWP(Standard(), GAMMA, 0.0)
