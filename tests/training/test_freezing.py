"""Parts of a network that training leaves as they are."""

import copy

import pytest
import torch
from learners import sgd_learner
from torch import nn
from torch.optim.swa_utils import update_bn

from robustrun.compute.modes import attack_mode
from robustrun.errors import ConfigError
from robustrun.models.initial_weights import note
from robustrun.training.freezing import freeze


def network() -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    return nn.Sequential(first, second, nn.Linear(64, 3))


def changed_by_a_step(model: nn.Module) -> set[str]:
    """The tensors that a step of training in train mode changes."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    x, y = torch.rand(6, 1, 8, 8), torch.arange(6) % 3
    learner = sgd_learner(model)
    learner.update(learner.cross_entropy(model(x), y))
    return {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }


HEAD = {"2.weight", "2.bias"}
SECOND = {f"1.{n}" for n in ("0.weight", "0.bias", "1.weight", "1.bias")}
STATISTICS = {f"1.1.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}


@pytest.mark.parametrize(
    ("wanted", "trained"),
    [
        ("all_but_head", HEAD),
        (["0"], HEAD | SECOND | STATISTICS),
        (["0", "1.0"], HEAD | {"1.1.weight", "1.1.bias"} | STATISTICS),
        (["0", "*.1.*"], HEAD | {"1.0.weight", "1.0.bias"}),
        (["0.*", "1.?.*"], HEAD),
    ],
)
def test_what_is_frozen_stays_as_it_is_statistics_too(
    wanted: str | list[str], trained: set[str]
) -> None:
    model = network()
    freeze(model, wanted, 3)
    assert changed_by_a_step(model) == trained


def test_nothing_is_frozen_where_nothing_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    model = network()
    freeze(model, (), 3)
    assert not caplog.text
    assert changed_by_a_step(model) == set(model.state_dict())


def test_frozen_statistics_stay_in_attacks_copies_and_recomputed_averages() -> None:
    model = network()
    freeze(model, ["0"], 3)
    for frozen in (model, copy.deepcopy(model)):
        before = frozen[0][1].state_dict()
        before = {name: value.clone() for name, value in before.items()}
        with attack_mode(frozen, "train"):
            frozen(torch.rand(6, 1, 8, 8))
        update_bn([(torch.rand(6, 1, 8, 8), torch.zeros(6))], frozen)
        assert all(torch.equal(frozen[0][1].state_dict()[k], v) for k, v in before.items())
        assert not frozen[0][1].training
        assert frozen[1][1].num_batches_tracked == 1  # counted again from the pass of update_bn


def test_names_are_those_of_a_librarys_network_without_what_stands_before_it() -> None:
    model = nn.Sequential()
    model.add_module("network", network())
    freeze(model, ["0", "network.1"], 3)
    assert changed_by_a_step(model) == {f"network.{name}" for name in HEAD}
    around = nn.Sequential()
    around.add_module("network", nn.Sequential())
    around.network.add_module("network", network())  # type: ignore[operator]
    freeze(around, ["0", "network.1"], 3)
    assert changed_by_a_step(around) == {f"network.network.{name}" for name in HEAD}
    with pytest.raises(ConfigError, match=r"Its parts are 0, 1, 2;"):
        freeze(around, ["layer1"], 3)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            ["0", "layer1"],
            r"names 'layer1', which is no part of the network\. Its parts are 0, 1, 2;",
        ),
        (["0", "1", "2"], "leaves nothing of the network to train"),
    ],
)
def test_a_part_that_is_not_there_and_a_training_of_nothing_are_refused(
    wanted: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        freeze(network(), wanted, 3)


def test_frozen_weights_that_are_random_are_told(caplog: pytest.LogCaptureFixture) -> None:
    freeze(network(), "all_but_head", 3)
    assert "training.freeze keeps weights that are random" in caplog.text
    caplog.clear()
    model = network()
    note(model, "w.pt", None, model.state_dict())
    freeze(model, "all_but_head", 3)
    assert "random" not in caplog.text
