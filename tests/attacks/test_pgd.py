"""PGD: restarts, and what leaves the batch."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from attacks.small_attacks import (
    attack,
)
from attacks.small_networks import (
    Counting,
    Linear,
    batch,
    generator,
    network,
    right,
)
from robustrun.attacks.geometry.ball import uniform_start
from robustrun.attacks.pgd import PGD
from robustrun.errors import ConfigError


def test_the_generator_decides_and_more_restarts_and_steps_find_no_less() -> None:
    model = network()
    x, y = batch(model, 60)
    weak = attack("pgd", "linf", steps=2, restarts=1)
    first, again, other = (weak(model, x, y, generator=generator(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    standing = [
        int(
            right(model, attack("pgd", "linf", **more)(model, x, y, generator=generator()), y).sum()
        )
        for more in ({"steps": 1}, {"steps": 10}, {"steps": 10, "restarts": 5})
    ]
    assert standing[0] >= standing[1] >= standing[2]
    assert standing[2] < len(x)


def test_once_fooled_is_always_fooled_and_is_no_longer_shown_to_the_model() -> None:
    model = network().eval()
    x, y = batch(model, 40)
    counting = Counting(model)
    strong = attack("pgd", "linf", steps=10, restarts=3)
    found = strong(counting, x, y, generator=generator())
    fallen = ~right(model, found, y)
    assert fallen.any()
    assert counting.seen < 40 * 3 * 11, "everything was attacked to the end"
    # A second attack that begins where the model is fooled already changes nothing.
    same = strong(model, found[fallen], y[fallen], generator=generator())
    assert torch.equal(right(model, same, y[fallen]), torch.zeros_like(y[fallen]).bool())


def test_what_stands_is_tried_again_from_another_start_and_what_fell_is_not() -> None:
    model = network().eval()
    x, y = batch(model, 6)
    counting = Counting(model)
    tiny, huge = attack("pgd", "linf", 1e-5), attack("pgd", "linf", 0.9)
    assert right(model, replace(tiny, steps=4, restarts=3)(counting, x, y), y).all()
    assert counting.seen == 6 * 3 * (4 + 1)
    counting.seen = 0
    assert not right(model, replace(huge, steps=9, restarts=3)(counting, x, y), y).any()
    assert counting.seen <= 6 * (9 + 1), "the first restart is the last"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_start_is_the_image_or_a_random_point_of_the_ball(norm: Any) -> None:
    model = network().eval()
    x, y = batch(model, 6)
    still = PGD(norm, 1e-3, 1, 0.0, 1, False, "ce")  # steps of no length: the start is returned
    assert torch.equal(still(model, x, y, generator=generator()), x)
    random = replace(still, random_start=True)(model, x, y, generator=generator())
    assert torch.equal(random, uniform_start(x, norm, 1e-3, generator()))
    assert not torch.equal(random, x)


def test_a_batch_of_one_is_attacked_as_in_company_without_random_start() -> None:
    model = network().eval()
    x, y = batch(model, 6)
    plain = PGD("linf", 0.03, 5, 0.01, 1, False, "ce")
    together = plain(model, x, y)
    for row in range(6):
        alone = plain(model, x[row : row + 1], y[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"restarts": 0},
        {"step_size": -0.1},
        {"step_size": 0.3},  # wider than the ball
        {"epsilon": -0.1},
        {"epsilon": 8.0},
        {"norm": "l7"},
        {"restarts": 2, "random_start": False},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    settings: dict[str, Any] = {
        "norm": "linf",
        "epsilon": 0.1,
        "steps": 3,
        "step_size": 0.05,
        "restarts": 1,
        "random_start": True,
        "loss": "ce",
    }
    PGD(**settings)
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PGD(**settings | wrong)


def test_the_margin_is_climbed_where_cross_entropy_has_no_slope_left() -> None:
    saturated = Linear(torch.tensor([[0.0, 0.0], [3e4, 1e4]]), torch.tensor([0.0, -2.4e4]))
    x, y = torch.tensor([[[[0.5, 0.5]]]]), torch.tensor([0])  # 4,000 logits away: exp(-4000) is 0
    slope = torch.autograd.grad(F.cross_entropy(saturated(x.requires_grad_()), y), x)[0]
    assert (slope == 0).all()
    x = x.detach()
    how = {"norm": "linf", "epsilon": 0.15, "steps": 3, "step_size": 0.06, "restarts": 1}
    found = {
        loss: PGD(**how, random_start=False, loss=loss)(saturated, x, y)  # type: ignore[arg-type]
        for loss in ("ce", "margin")
    }
    assert torch.equal(found["ce"], x)
    torch.testing.assert_close(found["margin"], x + 0.12)  # two steps turn it
