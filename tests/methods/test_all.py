"""What all methods promise of a step."""

import pytest
import torch
from host_reads import host_reads
from torch import nn

from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.training.fit import train_batch
from robustrun.training.weight_perturbation import WeightPerturbation
from tests.learners import COUNTS, sgd_learner

# Without robal: torch's `one_hot` looks at the labels on a CPU, and does not on CUDA.
METHODS = ["standard", "pgd_at", "pgd_at_l2", "trades", "trades_l2", "mart", "fgsm_at", "fast_at"]
METHODS += ["n_fgsm", "free_at", "at_bsl", "at_awp", "trades_awp"]


@pytest.mark.device
@pytest.mark.parametrize("name", METHODS)
def test_a_step_reads_no_value_so_that_a_gpu_is_never_waited_for(
    name: str, network: nn.Module, device: torch.device
) -> None:
    run = load_config(compose_config(["dataset=cifar10", f"method={name}"]))
    size = run.training.weight_perturbation
    perturbation = WeightPerturbation(size, 0.0) if size else None
    model, counts = network.float().to(device), COUNTS.to(device)
    learner = sgd_learner(model, counts, weight_perturbation=perturbation)
    x, y = torch.rand(8, 1, 5, 5), torch.arange(8) % 4
    x, y = x.to(device), y.to(device)
    train_batch(learner, run.method, x, y)  # what is set up once may be waited for
    assert host_reads(lambda: train_batch(learner, run.method, x, y), device) == 0
