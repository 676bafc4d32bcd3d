"""FGSM and PGD: the worst case of a linear model, the ball, restarts, and what leaves the batch."""

from typing import Any

import pytest
import torch
from toys import DUAL, EPSILON, Counting, Linear, attack, batch, generator, network, right

from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.pgd import PGD
from robustrun.errors import ConfigError

ATTACKS = [("fgsm", "linf"), ("fgsm", "l2"), ("pgd", "linf"), ("pgd", "l2")]


def linear(count: int = 40) -> tuple[Linear, torch.Tensor, torch.Tensor, torch.Tensor, Any]:
    """A model of two classes, images far from the box with the labels it gives, and margins."""
    torch.manual_seed(0)
    model = Linear(torch.randn(2, 48), torch.zeros(2))
    x = 0.5 + 0.02 * torch.randn(count, 3, 4, 4)
    logits = model(x)
    y = logits.argmax(dim=1)
    slope = model.weight[1] - model.weight[0]
    return model, x, y, (logits[:, 1] - logits[:, 0]).abs().detach(), slope.detach()


@pytest.mark.parametrize(("name", "norm"), ATTACKS)
def test_a_linear_model_falls_exactly_from_its_distance_on(name: str, norm: str) -> None:
    model, x, y, margins, slope = linear()
    away = margins / torch.linalg.vector_norm(slope, DUAL[norm])
    epsilon = float(away.median())
    found = attack(name, norm, epsilon)(model, x, y, generator=generator())
    # Within a thousandth of the boundary float32 decides.
    sure = (away / epsilon - 1).abs() > 1e-3
    assert torch.equal(right(model, found, y)[sure], (away > epsilon)[sure])


@pytest.mark.parametrize(("name", "norm"), ATTACKS)
def test_stays_in_the_ball_and_in_the_image_and_leaves_the_model_alone(
    name: str, norm: str
) -> None:
    model = network()
    x, y = batch(model, 12, wrong=2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = attack(name, norm)(model, x, y, generator=generator())
    assert distance(found, x, norm).max() <= EPSILON[norm] * (1 + 1e-5)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.shape == x.shape
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(("name", "norm"), ATTACKS)
def test_no_image_at_all_is_fine(name: str, norm: str) -> None:
    model = network()
    x, y = batch(model, 3)
    assert attack(name, norm)(model, x[:0], y[:0], generator=generator()).shape == x[:0].shape


def test_fgsm_is_one_step_along_the_sign_of_the_gradient() -> None:
    model, x, y, _, slope = linear()
    found = FGSM("linf", 0.01)(model, x, y)
    towards_one = torch.where(y == 0, 1.0, -1.0).view(-1, 1)
    expected = x.flatten(1) + 0.01 * towards_one * slope.sign()
    torch.testing.assert_close(found.flatten(1), expected.clamp(0, 1))


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
