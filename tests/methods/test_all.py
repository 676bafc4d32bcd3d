"""What all methods promise of a step."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from host_reads import host_reads
from torch import nn

from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.errors import ConfigError
from robustrun.methods.inner import Inner
from robustrun.training.fit import train_batch
from robustrun.training.weight_perturbation import WeightPerturbation
from robustrun.types import METHODS as REGISTERED
from tests.learners import COUNTS, sgd_learner

# Without robal: torch's `one_hot` looks at the labels on a CPU, and does not on CUDA.
METHODS = ["standard", "pgd_at", "pgd_at_l2", "trades", "trades_l2", "mart", "fgsm_at", "fast_at"]
METHODS += ["n_fgsm", "free_at", "at_bsl", "at_awp", "trades_awp", "gaussian"]


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


LIMITS: dict[str, list[tuple[str, Any, Any]]] = {  # the last value that is right, one that is wrong
    "fast_at": [("step_size", 0.0, -0.01)],
    "fgsm_at": [("alpha", 0.0, -0.01), ("alpha", 1.0, 1.01)],
    "free_at": [("step_size", 0.0, -0.01), ("replays", 1, 0)],
    "gaussian": [("sigma", 0.0, -0.01)],
    "mart": [("beta", 0.0, -0.01)],
    "n_fgsm": [("noise", 0.0, -0.01), ("step_size", 0.0, -0.01)],
    "notebook_fgsm_at": [
        ("clean_share", 0.0, -0.01),
        ("clean_share", 1.0, 1.01),
        ("epsilon", 0.0, -0.01),
        ("epsilon", 1.0, math.inf),
        ("clamp", (0.0, 1.0), (-0.01, 1.0)),
        ("clamp", (0.0, 1.0), (0.0, 1.01)),
        ("clamp", (0.4, 0.5), (0.5, 0.5)),
    ],
    "notebook_trades": [("beta", 0.0, -0.01)],
    "notebook_pat": [("alpha", 0.0, -0.01), ("clean_gradients", 1, 0)],
    "pat": [("bound", 0.01, 0.0)],
    "robal": [
        ("scale", 0.01, 0.0),
        *((key, 0.0, -0.01) for key in ("beta", "gamma", "margin", "tau_m", "tau_b", "tau_p")),
    ],
    "trades": [("beta", 0.0, -0.01)],
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_setting_out_of_its_range_is_refused_by_name(name: str) -> None:
    method: Any = load_config(compose_config([f"method={name}"])).method
    for key, right, wrong in LIMITS[name]:
        assert getattr(dataclasses.replace(method, **{key: right}), key) == right
        with pytest.raises(ConfigError, match=rf"^{key} is .* but must be "):
            dataclasses.replace(method, **{key: wrong})


def test_the_adversary_of_a_method_refuses_what_is_out_of_its_range() -> None:
    inner = load_config(compose_config(["method=pgd_at"])).method.inner  # type: ignore[attr-defined]
    for key, right, wrong in (("steps", 1, 0), ("step_size", 0.0, -0.01), ("start_std", 0.0, -1.0)):
        assert getattr(dataclasses.replace(inner, **{key: right}), key) == right
        with pytest.raises(ConfigError, match=rf"^{key} is .* but must be "):
            dataclasses.replace(inner, **{key: wrong})


def test_a_method_cannot_be_changed_once_it_is_made() -> None:
    """What a run trains with is what its results say."""
    ours = [REGISTERED[name] for name in REGISTERED]
    ours = [method for method in ours if method.__module__.startswith("robustrun.")]
    assert len(ours) >= 10
    parts = [*ours, Inner]
    assert all(part.__dataclass_params__.frozen for part in parts)  # type: ignore[attr-defined]


def test_methods_whose_loss_has_no_smoothed_labels_refuse_them() -> None:
    """And the others, whose cross-entropy has them, do not."""
    for name in ("notebook_fgsm_at", "notebook_trades", "notebook_pat", "notebook_robal"):
        words = [f"method={name}", "training.label_smoothing=0.1"]
        with pytest.raises(ConfigError, match="label_smoothing"):
            load_config(compose_config(words))
    config = load_config(compose_config(["method=trades", "training.label_smoothing=0.1"]))
    assert config.training.label_smoothing == 0.1
