"""MI-FGSM: the written-out formula, the worst case of a linear model, and who leaves the batch."""

import pytest
import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.mi_fgsm import MIFGSM


class Curved(nn.Module):
    """A small smooth network of three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.BatchNorm1d(16), nn.Linear(16, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def curved(dtype: torch.dtype = torch.float32) -> tuple[Curved, Tensor, Tensor]:
    """The network, images, and the labels it predicts for them."""
    torch.manual_seed(0)
    model = Curved().to(dtype).eval()
    x = torch.rand(12, 3, 2, 2, dtype=dtype)
    with torch.no_grad():
        model.layers[-1].weight *= 5
        model.layers[-1].bias -= model(x).mean(dim=0)  # every class is predicted somewhere
    return model, x, model(x).argmax(dim=1)


def attack(**changes: object) -> MIFGSM:
    settings = {"norm": "linf", "epsilon": 0.05, "steps": 10, "step_size": 0.005, "decay": 1.0}
    return MIFGSM(**(settings | changes))  # type: ignore[arg-type]


def written_out(model: nn.Module, x: Tensor, y: Tensor, steps: int, decay: float) -> Tensor:
    x_adv, g = x.clone(), torch.zeros_like(x)
    for _ in range(steps):
        x_adv.requires_grad_()
        loss = nn.functional.cross_entropy(model(x_adv), y, reduction="sum")
        slope = torch.autograd.grad(loss, x_adv)[0]
        g = decay * g + slope / slope.abs().sum(dim=(1, 2, 3), keepdim=True)
        x_adv = (x_adv.detach() + 0.005 * g.sign()).clamp(x - 0.02, x + 0.02).clamp(0, 1)
    return x_adv


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_the_steps_are_the_papers(decay: float) -> None:
    model, x, y = curved(torch.float64)
    expected = written_out(model, x, y, 8, decay)
    found = attack(epsilon=0.02, steps=8, decay=decay)(model, x, y)
    stands = model(expected).argmax(dim=1) == y
    assert stands.any()
    # float64: the same operations in another order.
    torch.testing.assert_close(found[stands], expected[stands], atol=1e-12, rtol=0)


@pytest.mark.parametrize(("norm", "reach"), [("linf", 1.0), ("l2", 0.5)])
def test_a_linear_model_falls_exactly_from_its_distance_on(norm: str, reach: float) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    weight = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 1.0, -1.0]])
    model[1].weight.data, model[1].bias.data = weight, torch.tensor([0.0, -0.4])
    x = torch.full((1, 1, 2, 2), 0.5)  # gap 0.4; dual norms 4 (l1) and 2 (l2): 0.1 and 0.2 away
    away = 0.4 / (4.0 * reach)
    for factor, falls in ((0.98, False), (1.02, True)):
        radius = away * factor
        found = attack(norm=norm, epsilon=radius, step_size=radius / 10)(
            model, x, torch.tensor([0])
        )
        assert bool(model(found).argmax(dim=1) != 0) is falls
        assert distance(found, x, norm).item() == pytest.approx(radius, abs=1e-6)  # float32


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_stays_in_the_ball_and_in_the_image_and_leaves_the_model_alone(norm: str) -> None:
    model, x, y = curved()
    x[:4] = x[:4].round()  # at the edge of the image box
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = attack(norm=norm, epsilon=0.1, step_size=0.03)(model, x, y)
    assert found.min() >= 0
    assert found.max() <= 1
    assert distance(found, x, norm).max() <= 0.1 + 1e-6  # rounding of float32 images
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_what_is_wrong_already_is_returned_as_it_is() -> None:
    model, x, y = curved()
    y = y.clone()
    y[::2] = (y[::2] + 1) % 3
    found = attack()(model, x, y)
    assert torch.equal(found[::2], x[::2])
    assert (found[1::2] != x[1::2]).flatten(1).any(dim=1).all()


def test_a_fooled_image_is_kept_and_no_longer_shown_to_the_model() -> None:
    model, x, y = curved()
    seen: list[int] = []
    hook = model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    found = attack(epsilon=1.0, step_size=0.1)(model, x, y)
    hook.remove()
    assert seen[0] == len(x)  # the clean images
    assert min(seen[1:-1]) < len(x)
    # Stopped halfway, it returns the very same images for those that had fallen by then.
    sooner = attack(epsilon=1.0, step_size=0.1, steps=5)(model, x, y)
    early = model(sooner).argmax(dim=1) != y
    assert early.any()
    assert torch.equal(found[early], sooner[early])
    # One step less does not fool it: the first image that does is the one that is kept.
    before = attack(epsilon=1.0, step_size=0.1, steps=1)(model, x, y)
    assert (model(before).argmax(dim=1) == y).sum() > (model(found).argmax(dim=1) == y).sum()


def test_an_image_is_attacked_alike_alone_and_in_a_batch_and_no_image_at_all_is_fine() -> None:
    model, x, y = curved(torch.float64)
    together = attack()(model, x, y)
    alone = torch.cat([attack()(model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(alone, together, atol=1e-12, rtol=0)  # order of sums in float64
    assert attack()(model, x[:0], y[:0]).shape == (0, 3, 2, 2)


def test_at_another_radius_the_step_keeps_its_share() -> None:
    assert attack().with_radius(0.1) == attack(epsilon=0.1, step_size=0.01)
