"""The search of StAdv and ReColorAdv: its steps, and who leaves the batch."""

import inspect
from dataclasses import replace

import pytest
import torch
from torch import nn

from attacks.small_attacks import recolor, stadv
from attacks.small_networks import (
    tanh_network,
)
from robustrun.attacks.recolor import ReColorAdv
from robustrun.attacks.search.transformed import roughness, search
from robustrun.attacks.stadv import StAdv, displace

ATTACKS = pytest.mark.parametrize("attack", [stadv(), recolor()], ids=["stadv", "recolor"])


def test_roughness_is_the_sum_over_all_points_and_their_neighbours() -> None:
    field = torch.rand(2, 3, 4, 2, dtype=torch.float64)
    expected = torch.zeros(2, dtype=torch.float64)
    for row in range(3):
        for column in range(4):
            for other in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                if 0 <= other[0] < 3 and 0 <= other[1] < 4:
                    expected += (field[:, row, column] - field[:, other[0], other[1]]).norm(dim=1)
    torch.testing.assert_close(roughness(field), expected, rtol=1e-8, atol=0)  # 1e-10 in the roots
    lattice = torch.rand(1, 2, 2, 2, 3, dtype=torch.float64)
    edges = sum((lattice.select(d, 0) - lattice.select(d, 1)).norm(dim=-1).sum() for d in (1, 2, 3))
    assert roughness(lattice).item() == pytest.approx(2 * float(edges), rel=1e-8)


def test_the_search_is_torchs_adam_with_a_clamp() -> None:
    model, x, y = tanh_network()
    model, x = model.double(), x[:3].double()
    y = model(x).argmax(dim=1)
    flow = torch.zeros(3, 8, 8, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([flow], lr=1e-3)
    for _ in range(3):
        logits = model(displace(x, flow))
        assert (logits.argmax(dim=1) == y).all()  # nobody leaves
        others = logits.masked_fill(nn.functional.one_hot(y, 3).bool(), -torch.inf).amax(dim=1)
        gain = others - logits.gather(1, y[:, None]).squeeze(1)
        optimizer.zero_grad()
        (0.05 * roughness(flow) - gain).sum().backward()
        optimizer.step()
        with torch.no_grad():
            flow.clamp_(-0.002, 0.002)
    model.zero_grad()
    found = search(
        model,
        x,
        y,
        torch.zeros(3, 8, 8, 2, dtype=torch.float64),
        displace,
        bound=0.002,
        smoothness=0.05,
        lr=1e-3,
        steps=3,
    )
    # float64: the same operations in another order, and Adam divides small slopes by their size.
    torch.testing.assert_close(found, displace(x, flow).detach(), atol=1e-9, rtol=0)


@ATTACKS
def test_fools_the_model_within_its_bound_and_keeps_the_first_image_that_does(
    attack: StAdv | ReColorAdv,
) -> None:
    model, x, y = tanh_network()
    seen: list[int] = []
    hook = model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    found = attack(model, x, y)
    hook.remove()
    fooled = model(found).argmax(dim=1) != y
    assert fooled.any()
    assert min(seen) < len(x)
    assert torch.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(found, attack(model, x, y))  # no randomness
    tight = replace(attack, bound=attack.bound / 10, smoothness=10 * attack.smoothness)
    assert (model(tight(model, x, y)).argmax(dim=1) != y).sum() <= fooled.sum()


def test_once_all_images_have_fallen_the_model_is_passed_through_no_more() -> None:
    model, x, y = tanh_network()
    sizes: list[int] = []
    model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    strong = recolor(bound=0.5, steps=80, lr=0.05)
    assert (model(strong(model, x, y)).argmax(dim=1) != y).all()
    assert min(sizes) > 0, "no batch without images"
    assert len(sizes) < 80


@ATTACKS
def test_what_is_wrong_already_is_left_alone_and_no_image_at_all_is_fine(
    attack: StAdv | ReColorAdv,
) -> None:
    model, x, y = tanh_network()
    wrong = y.clone()
    wrong[::2] = (wrong[::2] + 1) % 3
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = attack(model, x, wrong)
    assert torch.equal(found[::2], x[::2])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert attack(model, x[:0], y[:0]).shape == (0, 3, 8, 8)
    assert attack(model, x[:1], y[:1]).shape == (1, 3, 8, 8)


def test_numbers_are_given_by_their_names() -> None:
    taken = inspect.signature(search).parameters.values()
    named = [its.name for its in taken if its.kind is its.KEYWORD_ONLY]
    assert named == ["bound", "smoothness", "lr", "steps"]
    assert not any(its.kind is its.POSITIONAL_ONLY for its in taken)
