"""Training with Gaussian noise: what the network sees, and the authors' recipe."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import robustrun
from robustrun.methods.gaussian import Gaussian
from tests.learners import COUNTS, sgd_learner

pytestmark = pytest.mark.device


def test_the_noise_is_normal_new_at_each_step_and_not_clipped(device: torch.device) -> None:
    torch.manual_seed(0)
    learner = sgd_learner(nn.Linear(1, 1), COUNTS)  # not asked
    x = torch.full((100, 3, 10, 10), 0.9, device=device)
    noise, again = (Gaussian(0.5).perturb(learner, x, x[:, 0, 0, 0].long()) - x for _ in range(2))
    # 30,000 numbers: their mean and deviation are within 4 deviations of their own.
    assert float(noise.mean()) == pytest.approx(0.0, abs=4 * 0.5 / 30_000**0.5)
    assert float(noise.std()) == pytest.approx(0.5, abs=4 * 0.5 / 60_000**0.5)
    assert float((noise.abs() < 0.5).float().mean()) == pytest.approx(0.6827, abs=0.011)
    assert float((x + noise).max()) > 1.5
    assert float((x + noise).min()) < 0.0
    assert not torch.equal(noise, again)


def test_the_loss_is_cross_entropy_on_the_noisy_images(
    network: nn.Module, device: torch.device
) -> None:
    model = network.to(device)
    learner = sgd_learner(model, COUNTS.to(device))
    x = torch.rand(8, 1, 5, 5, dtype=torch.float64, device=device)
    y = torch.arange(8, device=device) % 4
    method = Gaussian(0.1)
    noisy = method.perturb(learner, x, y)
    assert torch.equal(method.loss(learner, x, noisy, y), F.cross_entropy(model(noisy), y))


def test_the_recipe_is_the_authors() -> None:
    run = robustrun.compose(["method=gaussian", "dataset=cifar10"])
    assert (run.training.epochs, run.training.batch_size, run.training.select) == (90, 256, "last")
    assert (run.optimizer.lr, run.optimizer.weight_decay) == (0.1, 1e-4)  # type: ignore[attr-defined]
    assert run.schedule.milestones == pytest.approx((30 / 90, 60 / 90))  # type: ignore[attr-defined]
