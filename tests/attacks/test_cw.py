"""CW-L2: the distances of linear models, one descent against torch's Adam, and who leaves."""

import pytest
import torch
from torch import Tensor, nn

from robustrun.attacks import cw
from robustrun.attacks.cw import CWL2
from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.search.nearest import Nearest


def attack(**changes: object) -> CWL2:
    settings = {
        "norm": "l2",
        "epsilon": 0.1,
        "steps": 150,
        "searches": 8,
        "constant": 1e-2,
        "confidence": 0.0,
        "lr": 0.01,
    }
    return CWL2(**(settings | changes))  # type: ignore[arg-type]


def linear() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model of two classes, so that there is one boundary; images, and their labels."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    x = 0.2 + 0.6 * torch.rand(12, 3, 2, 2)
    with torch.no_grad():
        model[1].weight *= 3
        model[1].bias -= model(x).mean(dim=0)
    return model, x, model(x).argmax(dim=1)


def solved(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The l2 distance of the nearest boundary of a linear model from each image, N."""
    weight, bias = model[1].weight, model[1].bias  # type: ignore[index]
    scores = x.flatten(1) @ weight.T + bias
    gaps = scores.gather(1, y[:, None]) - scores
    lengths = (weight[y][:, None] - weight).norm(dim=2)
    return (gaps / lengths.clamp_min(1e-12)).scatter(1, y[:, None], torch.inf).amin(dim=1).detach()


def test_the_distances_of_a_linear_model_are_found() -> None:
    model, x, y = linear()
    images, found = attack().minimal_distances(model, x, y)
    expected = solved(model, x, y).double()
    assert (found >= expected * (1 - 1e-5)).all()  # nothing fools it any nearer (float32)
    # Eight weights and 150 steps bring it within a few percent.
    torch.testing.assert_close(found, expected, rtol=0.04, atol=0)
    assert (model(images).argmax(dim=1) != y).all()
    torch.testing.assert_close(distance(images, x, "l2"), found, rtol=0, atol=0)


def test_one_descent_is_adam_on_the_papers_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cw, "CHECKS", 1)  # of progress: only at the end
    model, x, y = linear()
    model, x, index = model.double(), x.double(), torch.arange(len(x))
    weight = torch.full((len(x),), 0.7, dtype=torch.float64)
    w = torch.atanh((2 * x - 1) * 0.999999).requires_grad_()
    optimizer = torch.optim.Adam([w], lr=0.01)
    best = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for _ in range(40):
        x_adv = 0.5 * (torch.tanh(w) + 1)
        logits = model(x_adv)
        right = logits[index, y]
        other = logits.masked_fill(nn.functional.one_hot(y, 2).bool(), -torch.inf).amax(dim=1)
        size = ((x_adv - x) ** 2).sum(dim=(1, 2, 3))
        loss = (size + 0.7 * (right - other + 0.1).clamp(min=0)).sum()
        better = (other - right > 0.1) & (size.sqrt() < best)
        best = torch.where(better, size.sqrt().detach(), best)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.zero_grad()
    nearest = Nearest.of(x, "l2")
    fell = attack(steps=40, confidence=0.1)._descend(model, y, weight, nearest, index, -1.0)
    assert fell.any()
    assert torch.equal(fell, torch.isfinite(best))
    torch.testing.assert_close(nearest.distance, best, rtol=1e-9, atol=0)  # order of operations


def test_the_weight_grows_tenfold_until_the_model_is_fooled_and_is_then_bisected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x, y = linear()
    asked: list[float] = []

    def descend(self: CWL2, model: object, y: Tensor, weight: Tensor, *rest: object) -> Tensor:
        asked.append(weight[0].item())
        return weight >= 0.6

    monkeypatch.setattr(CWL2, "_descend", descend)
    attack(searches=6)._search(model, x[:1], y[:1], -1.0)
    assert asked == pytest.approx([0.01, 0.1, 1.0, 0.55, 0.775, 0.6625])


def test_as_an_attack_it_decides_at_its_radius_and_stays_in_the_ball() -> None:
    model, x, y = linear()
    away = solved(model, x, y)
    radius = away.median().item() * 1.05
    found = attack(epsilon=radius)(model, x, y)
    fooled = model(found).argmax(dim=1) != y
    clear = (away / radius - 1).abs() > 0.045  # what the search may miss by
    assert torch.equal(fooled[clear], (away < radius)[clear])
    assert 0 < fooled.sum() < len(x)
    assert distance(found, x, "l2").max() <= radius + 1e-6  # rounding of float32 images
    assert found.min() >= 0
    assert found.max() <= 1


def test_images_at_the_edge_of_the_box_stay_finite() -> None:
    model, x, y = linear()
    x = x.round()
    y = model(x).argmax(dim=1)
    images, away = attack(steps=40).minimal_distances(model, x, y)
    assert torch.isfinite(images).all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert (away > 0).all()


def test_a_fooled_image_leaves_the_batch_and_what_is_wrong_already_never_enters_it() -> None:
    model, x, y = linear()
    y = y.clone()
    y[::3] = 1 - y[::3]
    seen: list[int] = []
    model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    found = attack(epsilon=solved(model, x, y).median().item())(model, x, y)
    assert torch.equal(found[::3], x[::3])
    assert seen[0] == 12
    assert seen[1] == 8
    assert min(seen[1:-1]) < 8
    _, away = attack(steps=10).minimal_distances(model, x, y)
    assert (away[::3] == 0).all()


def test_an_image_is_attacked_alike_alone_and_in_a_batch_and_no_image_at_all_is_fine() -> None:
    model, x, y = linear()
    model, x = model.double(), x.double()
    few = attack(steps=30, searches=4)
    _, together = few.minimal_distances(model, x, y)
    alone = [few.minimal_distances(model, x[i : i + 1], y[i : i + 1])[1] for i in range(4)]
    torch.testing.assert_close(torch.cat(alone), together[:4], rtol=1e-9, atol=0)  # order of sums
    assert attack()(model, x[:0], y[:0]).shape == (0, 3, 2, 2)


def test_once_every_image_is_near_enough_there_is_no_further_descent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x, y = linear()
    weights: list[float] = []
    descend = CWL2._descend

    def watched(self: CWL2, *values: Tensor) -> Tensor:
        weights.append(values[2][0].item())
        return descend(self, *values)

    monkeypatch.setattr(CWL2, "_descend", watched)
    attack(epsilon=2.0, constant=1.0)._search(model, x, y, 2.0)
    assert weights == [1.0]
    weights.clear()
    attack(epsilon=2.0, constant=1.0, searches=3)._search(model, x, y, -1.0)
    assert len(weights) == 3


@pytest.mark.parametrize(
    ("steps", "losses", "looks"),
    [
        (20, [1.0] * 20, 4),  # looked at after 2 steps, and no smaller after 4
        (20, [1.0] * 3 + [0.5] * 17, 6),  # smaller after 4, and not after 6
        (5, [1.0] * 5, 2),  # after each step, where there are fewer than ten
        (20, [0.9995**step for step in range(20)], 20),  # each look finds 99.9% of the last
        (20, [0.99998**step for step in range(20)], 4),  # 99.996%: as good as none
    ],
)
def test_a_descent_ends_once_its_loss_no_longer_falls(
    steps: int, losses: list[float], looks: int
) -> None:
    """By less than a ten thousandth over a tenth of its steps, as in the authors' code."""

    class Told(nn.Module):
        seen = 0

        def forward(self, x: Tensor) -> Tensor:
            ahead = x.new_full((len(x), 1), losses[self.seen]) + 0 * x.flatten(1)[:, :1]
            self.seen += 1
            return torch.cat([ahead, torch.zeros_like(ahead)], dim=1)

    model, x = Told(), torch.full((2, 1, 2, 2), 0.5)
    y, rows = torch.tensor([0, 0]), torch.arange(2)
    weight = torch.ones(2)
    nearest = Nearest.of(x, "l2")
    assert not attack(steps=steps)._descend(model, y, weight, nearest, rows, -1.0).any()
    assert model.seen == looks
