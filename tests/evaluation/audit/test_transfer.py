"""Images made for another network: what they turn, and the network that is trained for it."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluation.audit.audit_targets import target
from evaluation.audit.small_audits import QUICK
from evaluation.grey_images import grey, linear
from robustrun.evaluation.audit.transfer import _small_network, imitate, transfer

LEVELS = torch.linspace(0.05, 0.95, 40)  # 4 images on either side are within 0.1 of the boundary
X, Y = grey(*LEVELS.tolist()), (LEVELS > 0.5).long()


class Detached(nn.Module):
    """No gradient comes back from it."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = linear()(x.detach())
        return logits


def test_images_for_a_network_of_the_same_boundary_turn_what_is_in_reach() -> None:
    check = transfer(target(Detached(), X, Y, surrogate=linear()))
    assert check.expected == 1.0
    assert check.measured == 32 / 40
    assert check.status == "fail"


def test_images_are_made_with_the_steps_of_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def recorded(loss: Any, x: Tensor, start: Tensor, **how: Any) -> Tensor:
        given.append(how)
        return x

    monkeypatch.setattr("robustrun.evaluation.audit.transfer.ascend", recorded)
    it = target(Detached(), X, Y, surrogate=linear())
    transfer(it)
    radius = it.attack.epsilon
    how = {"norm": "linf", "epsilon": radius, "step_size": QUICK.step * radius, "steps": 20}
    assert given
    assert all(found == how for found in given)


def test_images_for_a_network_of_the_opposite_slope_turn_nothing() -> None:
    opposite = linear()
    with torch.no_grad():
        for parameter in opposite.parameters():
            parameter.neg_()
    check = transfer(target(Detached(), X, Y, surrogate=opposite))
    assert (check.status, check.measured) == ("pass", 1.0)


def test_a_network_is_trained_on_the_answers_and_in_eval_mode() -> None:
    torch.manual_seed(0)
    settings = dataclasses.replace(QUICK, surrogate_steps=150)
    learnt = imitate(target(Detached(), X, 1 - Y, settings=settings))  # answers, not labels
    assert not learnt.training
    agree = (learnt(X).argmax(dim=1) == Y).float().mean()
    assert agree > 0.9
    check = transfer(target(Detached(), X, Y, settings=settings))
    assert check.measured == pytest.approx(32 / 40, abs=0.05)  # 2 of 40 images


def test_images_without_an_answer_teach_nothing() -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return linear()(x) * math.nan

    audited = target(Breaks(), X, Y)
    torch.manual_seed(1)
    learnt = imitate(audited)
    torch.manual_seed(1)
    untrained = _small_network(X, 2)
    pairs = zip(learnt.parameters(), untrained.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_network_learns_from_64_images_at_each_step() -> None:
    seen: list[int] = []
    network = linear()
    audited = target(network, X, Y, settings=dataclasses.replace(QUICK, surrogate_steps=3))
    network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    imitate(audited)
    assert seen == [64] * 3


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((1, 8, 8), (8, 8)),
        ((3, 32, 32), (32, 32)),
        ((3, 64, 96), (32, 48)),
        ((1, 224, 224), (32, 32)),
        ((3, 2, 2), (2, 2)),
    ],
)
def test_the_network_takes_images_of_any_size_on_a_coarse_grid(
    shape: tuple[int, ...], grid: tuple[int, int]
) -> None:
    x = torch.rand(2, *shape)
    network = _small_network(x, 7)
    assert network(x).shape == (2, 7)
    assert network[0].kernel_size >= network[0].stride, "every pixel is seen"
    assert tuple(network[0](x).shape[2:]) == grid
    assert tuple(network[:3](x).shape[2:]) == tuple(-(-side // 2) for side in grid)
