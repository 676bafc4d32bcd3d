"""AWP against its authors' way: a second network that takes one SGD step."""

import copy

import pytest
import torch
import torch.nn.functional as F

from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.errors import ConfigError
from robustrun.methods.inner import Inner
from robustrun.methods.pgd_at import PGDAT
from robustrun.methods.trades import TRADES
from robustrun.training.fit import train_batch
from robustrun.training.weight_perturbation import WeightPerturbation
from tests.learners import sgd_learner

EVAL = Inner("ce", steps=3, step_size=0.02, start="uniform", start_std=0.0, bn_mode="eval")
METHOD = PGDAT("linf", 0.05, True, EVAL)
GAMMA = 0.02
AWP = WeightPerturbation(GAMMA, warmup=0.0)
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
    tolerance = WEIGHT_DECAY_OF_THE_PERTURBATION
    assert_golden(METHOD, reference, tolerance=tolerance, weight_perturbation=AWP)


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
    method = TRADES(6.0, "linf", 0.05, inner, first_pass)
    reference = awp_step(attack, loss_of, undo="before the step")
    model = assert_golden(method, reference, weight_perturbation=AWP).model
    assert int(model.norm.num_batches_tracked) == 9  # three passes of each of three batches
    assert composed("trades_awp").method.first_pass == "adversarial"
    assert composed("trades").method.first_pass == "clean"


def composed(option, *words):
    return load_config(compose_config([f"method={option}", *words]))


def test_the_perturbation_goes_up_the_loss(learner, batches):
    """Against a sign error that both sides of the golden test could share."""
    x, y = batches[0]
    before = METHOD.loss(learner, x, x, y)
    with torch.no_grad():
        for w, d in AWP.deltas(learner.model, before):
            w.add_(d)
    assert METHOD.loss(learner, x, x, y) > before + 0.01


def test_each_weight_moves_by_gamma_of_its_norm_and_vectors_stay(learner, batches):
    x, y = batches[0]
    network = learner.model
    deltas = AWP.deltas(network, METHOD.loss(learner, x, x, y))
    weights = [network.convolution.weight, network.hidden.weight, network.head.weight]
    assert [id(w) for w, _ in deltas] == [id(w) for w in weights]
    for w, d in deltas:
        torch.testing.assert_close(d.norm(), GAMMA * w.norm())


@pytest.fixture
def perturbed(network):
    """A learner whose weights are perturbed in each step."""
    return sgd_learner(network, weight_perturbation=AWP)


def test_weights_are_restored_exactly_before_the_optimizer_moves_them(perturbed, batches):
    learner = perturbed
    before = copy.deepcopy(learner.model.state_dict())
    seen = []
    learner.apply = lambda: seen.append(copy.deepcopy(learner.model.state_dict()))
    train_batch(learner, METHOD, *batches[0])
    for name in ("convolution.weight", "hidden.weight", "head.weight", "head.bias"):
        assert torch.equal(seen[0][name], before[name])


def test_weights_are_restored_when_the_step_fails(perturbed, batches):
    learner = perturbed
    before = copy.deepcopy(learner.model.state_dict())

    def fail(loss):
        raise RuntimeError("out of memory")

    learner.backward = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        train_batch(learner, METHOD, *batches[0])
    assert torch.equal(learner.model.head.weight, before["head.weight"])
    assert all(m.track_running_stats for m in (learner.model.norm, learner.model.norm1d))


def test_batch_norm_does_not_see_the_pass_that_finds_the_perturbation(perturbed, batches):
    learner = perturbed
    train_batch(learner, METHOD, *batches[0])
    assert int(learner.model.norm.num_batches_tracked) == 2  # the loss, and PGD-AT's clean pass


@pytest.mark.parametrize(("progress", "moved"), [(0.044, False), (0.045, True)])
def test_there_is_no_perturbation_during_the_warm_up(network, batches, progress, moved):
    awp = WeightPerturbation(GAMMA, warmup=0.045)
    learner = sgd_learner(network, progress=progress, weight_perturbation=awp)
    plain = sgd_learner(copy.deepcopy(network), progress=progress)
    for one in (learner, plain):
        torch.manual_seed(0)
        train_batch(one, METHOD, *batches[0])
    pairs = zip(learner.model.parameters(), plain.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) is not moved


def test_the_whole_trades_loss_gives_the_direction(learner, batches):
    x, y = batches[0]
    network = learner.model
    inner = Inner("kl", steps=2, step_size=0.02, start="gaussian", start_std=0.001, bn_mode="eval")
    trades = TRADES(6.0, "linf", 0.05, inner, "adversarial")
    x_adv = trades.perturb(learner, x, y)
    p, q = network(x), network(x_adv)
    kl = (p.softmax(1) * (p.log_softmax(1) - q.log_softmax(1))).sum() / len(x)
    slope = torch.autograd.grad(F.cross_entropy(p, y) + 6 * kl, network.head.weight)[0]
    deltas = AWP.deltas(network, trades.loss(learner, x, x_adv, y))
    expected = GAMMA * network.head.weight.detach().norm() * slope / slope.norm()
    torch.testing.assert_close(deltas[-1][1], expected)


@pytest.mark.parametrize("option", ["standard", "pgd_at", "robal", "fast_at"])
def test_any_method_of_a_perturbation_and_a_loss_takes_it_by_one_word(option):
    training = composed(option, "training.weight_perturbation=0.01").training
    assert (training.weight_perturbation, training.weight_perturbation_warmup) == (0.01, 0.0)


@pytest.mark.parametrize(
    ("option", "word", "said"),
    [
        ("notebook_pat", "training.label_smoothing=0.1", "with method=notebook_pat, whose loss"),
        ("standard", "training.warmup=0.1", "with schedule=onecycle, which rises by itself"),
    ],
)
def test_what_cannot_come_together_is_refused_before_any_work(option, word, said):
    with pytest.raises(ConfigError, match=said):
        composed(option, word, "schedule=onecycle")


@pytest.mark.parametrize("option", ["free_at", "notebook_trades"])
def test_a_method_that_makes_its_own_step_is_refused_by_name(option):
    with pytest.raises(ConfigError, match=f"must be 0 with method={option}"):
        composed(option, "training.weight_perturbation=0.01")
