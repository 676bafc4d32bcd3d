"""PAT against its formula, written out in float64."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.attacks.perceptual.lagrangian import LagrangianSearch
from robustrun.attacks.perceptual.lpips import LPIPS, PerceptualModel
from robustrun.errors import ConfigError
from robustrun.methods.pat import PAT
from robustrun.training.batching import Batching
from robustrun.training.fit import train_batch
from robustrun.training.learner import Learner

BOUND, STEPS, LR = 0.3, 4, 0.1


class Small(nn.Module):
    """A convolution with batch normalisation; what comes out of its ReLU is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU())
        self.head = nn.Linear(5, 3)

    def with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        shown = self.body(x)
        return self.head(shown.mean(dim=(2, 3))), [shown]

    def forward(self, x: Tensor) -> Tensor:
        return self.with_features(x)[0]


def learner(model: nn.Module) -> Learner:
    """Plain gradient descent."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    return Learner(model, optimizer, torch.ones(3), Batching(8), 10, None, None)


def pat(network: str = "self", only_attack_correct: bool = True) -> PAT:
    weights = None if network == "self" else "random"
    search = LagrangianSearch(steps=STEPS, penalty=10.0, probe=0.1, start_std=0.01)
    return PAT(BOUND, only_attack_correct, search, LPIPS(network, weights, None))


def small() -> Small:
    torch.manual_seed(0)
    return Small().double().train()


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.rand(8, 1, 7, 7, dtype=torch.float64), torch.arange(8) % 3


def right_in_eval_mode(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return copy.deepcopy(model).eval()(x).argmax(dim=1) == y


def written_out_features(model: Small, x: Tensor) -> Tensor:
    phi = model.body(x)
    return (phi / (phi.norm(dim=1, keepdim=True) + 1e-10) / math.sqrt(25)).flatten(1)


def written_out_attack(model: Small, x: Tensor, y: Tensor) -> Tensor:
    """Fast-LPA on the images that `model`, in eval mode, gets right."""
    right = model(x).argmax(dim=1) == y
    clean, chosen, labels = written_out_features(model, x[right]).detach(), x[right], y[right]
    delta = 0.01 * torch.randn_like(chosen)
    for t in range(STEPS):
        delta = delta.detach().requires_grad_()
        logits, features = model(chosen + delta), written_out_features(model, chosen + delta)
        true = F.one_hot(labels, 3).bool()
        gap = logits.masked_fill(true, -math.inf).max(1).values - logits[true]
        d = (features - clean).norm(dim=1)
        objective = gap - 10 * 0.1 ** (1 - t / STEPS) * torch.relu(d - BOUND)
        g = torch.autograd.grad(objective.sum(), delta)[0]
        g = g / (g.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-8)
        ahead = written_out_features(model, chosen + delta + 0.1 * g)
        rate = (ahead - features).norm(dim=1).view(-1, 1, 1, 1) / 0.1
        eta = BOUND * 0.1 ** (t / STEPS)
        delta = (chosen + delta + eta / (rate + 1e-4) * g).clamp(0, 1) - chosen
    x_adv = x.clone()
    x_adv[right] = (chosen + delta).detach()
    return x_adv


def test_three_steps_train_the_weights_of_the_formula():
    trained, expected = small(), small()
    x, y = batch()
    torch.manual_seed(7)
    for _ in range(3):
        loss = train_batch(learner(trained), pat(), x, y)
    torch.manual_seed(7)
    for _ in range(3):
        x_adv = written_out_attack(expected.eval(), x, y)
        formula = F.cross_entropy(expected.train()(x_adv), y)
        learner(expected).update(formula)
    # float64: what is left is the rounding of a dozen attack steps
    torch.testing.assert_close(loss, formula, rtol=1e-7, atol=0.0)
    for (name, a), b in zip(
        trained.state_dict().items(), expected.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, msg=name)
    moved = [
        (a - b).abs().max() for a, b in zip(trained.parameters(), small().parameters(), strict=True)
    ]
    assert max(moved) > 1e-3


def test_only_images_that_are_right_are_attacked():
    model, (x, y) = small(), batch()
    right = right_in_eval_mode(model, x, y)
    assert 0 < right.sum() < len(y)
    x_adv = pat().perturb(learner(model), x, y)
    changed = (x_adv != x).flatten(1).any(dim=1)
    assert torch.equal(changed, right)


def test_every_image_is_attacked_where_that_is_asked_for():
    model, (x, y) = small(), batch()
    x_adv = pat(only_attack_correct=False).perturb(learner(model), x, y)
    assert (x_adv != x).flatten(1).any(dim=1).all()


def test_a_batch_without_a_right_image_stays_clean():
    model, (x, _) = small(), batch()
    wrong = (copy.deepcopy(model).eval()(x).argmax(dim=1) + 1) % 3
    assert torch.equal(pat().perturb(learner(model), x, wrong), x)


def test_the_attack_leaves_the_model_as_it_was_and_stays_near_the_bound():
    model, (x, y) = small(), batch()
    before = copy.deepcopy(model.state_dict())
    x_adv = pat().perturb(learner(model), x, y)
    assert model.training
    assert all(m.training for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert not x_adv.requires_grad
    # Not projected, and the last of 4 steps is 0.18 of the bound: near the bound, not within it.
    assert PerceptualModel(model.eval(), None).distance(x_adv, x).max() < 2 * BOUND


def test_the_loss_is_cross_entropy_on_the_adversarial_images_alone():
    model, (x, y) = small(), batch()
    x_adv = x.flip(0)
    expected = F.cross_entropy(copy.deepcopy(model)(x_adv), y)
    assert torch.equal(pat().loss(learner(model), x, x_adv, y), expected)


def test_a_fixed_lpips_network_can_bound_a_network_that_shows_nothing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(49, 3))
    x = torch.rand(8, 1, 7, 7)
    y = model(x).argmax(dim=1)
    method = pat("alexnet_cifar")
    x_adv = method.perturb(learner(model), x, y)
    distance = method.lpips.of(model, x).distance(x_adv, x)
    assert distance.min() > 0
    assert distance.max() < 1.5 * BOUND
    assert F.cross_entropy(model(x_adv), y) > F.cross_entropy(model(x), y)


@pytest.mark.parametrize("bound", [0.0, -1.0])
def test_a_bound_that_is_no_distance_is_refused(bound: float):
    with pytest.raises(ConfigError, match="bound is"):
        PAT(bound, True, LagrangianSearch(1, 1.0, 0.1, 0.01), LPIPS("self", None, None))
