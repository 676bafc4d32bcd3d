"""FMN: the distances of linear models, the written-out algorithm, and accuracy at every radius."""

import math

import pytest
import torch
from torch import Tensor, nn

from attacks.linear_networks import linear, solved
from attacks.small_attacks import fmn
from robustrun.attacks.geometry.ball import distance

NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])


def curved(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor]:
    """A small smooth network, images, and the labels it predicts for them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3)).to(dtype)
    x = torch.rand(12, 3, 2, 2, dtype=dtype)
    with torch.no_grad():
        model[3].weight *= 5
        model[3].bias -= model(x).mean(dim=0)  # every class is predicted somewhere
    return model, x, model(x).argmax(dim=1)


def written_out(model: nn.Module, x: Tensor, y: Tensor, norm: str, steps: int) -> Tensor:
    """The smallest distance for one image (batch of one)."""
    order, dual = (math.inf, 1) if norm == "linf" else (2, 2)
    delta, ball, best = torch.zeros_like(x), 0.0, math.inf
    for k in range(steps + 1):
        delta.requires_grad_()
        logits = model(x + delta)[0]
        others = torch.cat([logits[: y.item()], logits[y.item() + 1 :]])
        loss = logits[y.item()] - others.max()
        (g,) = torch.autograd.grad(loss, delta)
        delta = delta.detach()
        size = float(delta.flatten().norm(order))
        if loss < 0:
            best = min(best, size)
        if k == steps:
            break
        cosine = (1 + math.cos(math.pi * k / steps)) / 2
        alpha, gamma = 0.01 + 0.99 * cosine, 0.001 + 0.049 * cosine
        if loss < 0:
            ball = min(ball * (1 - gamma), best)
        elif best < math.inf:
            ball *= 1 + gamma
        else:
            there = size + abs(loss.item()) / float(g.flatten().norm(dual))
            ball = max(ball, there) * (1 + gamma)
        delta = delta - alpha * g / g.norm()
        if norm == "linf":
            delta = delta.clamp(-ball, ball)
        else:
            delta = delta * min(1.0, ball / float(delta.norm()))
        delta = (x + delta).clamp(0, 1) - x
    return torch.tensor(best, dtype=torch.float64)


@NORMS
def test_the_distances_of_a_linear_model_are_found(norm: str) -> None:
    model, x, y = linear()
    images, found = fmn(norm=norm).minimal_distances(model, x, y)
    expected = solved(model, x, y, norm).double()
    assert (found >= expected * (1 - 1e-5)).all()  # nothing fools it any nearer (float32)
    # The last balls differ by gamma_final, the last steps by alpha_final: half a percent.
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=0)
    assert (model(images).argmax(dim=1) != y).all()
    torch.testing.assert_close(distance(images, x, norm), found, rtol=0, atol=0)


@NORMS
def test_the_steps_are_the_papers(norm: str) -> None:
    model, x, y = curved()
    _, found = fmn(norm=norm, steps=30).minimal_distances(model, x, y)
    expected = [written_out(model, x[i : i + 1], y[i], norm, 30) for i in range(len(x))]
    # float64: the same operations in another order; an iterate at the boundary may tip over.
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=0)


def test_reaches_boundaries_that_the_image_box_hides() -> None:
    # The steepest pixels are at the edge of the box already: only the last one can move, and each
    # ball that ends where the boundary seems to be ends far short of it.
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model[1].weight.data = torch.tensor([[0.0, 0.0, 0.0, 0.0], [3.0, 3.0, 3.0, 1.0]])
    model[1].bias.data = torch.tensor([0.0, -9.6])
    x = torch.tensor([1.0, 1.0, 1.0, 0.2]).view(1, 1, 2, 2)
    _, away = fmn(norm="l2").minimal_distances(model, x, torch.tensor([0]))
    assert away.item() == pytest.approx(0.4, rel=5e-3)  # as for the other linear model


@NORMS
def test_as_an_attack_it_decides_at_its_radius(norm: str) -> None:
    model, x, y = linear()
    away = solved(model, x, y, norm)
    radius = away.median().item() * 1.02
    found = fmn(norm=norm, epsilon=radius)(model, x, y)
    fooled = model(found).argmax(dim=1) != y
    clear = (away / radius - 1).abs() > 6e-3  # what the search may miss by
    assert torch.equal(fooled[clear], (away < radius)[clear])
    assert distance(found, x, norm).max() <= radius + 1e-6  # rounding of float32 images
    # What is found too far away is projected, not thrown away.
    assert (found != x).flatten(1).any(dim=1).all()


def test_one_run_gives_what_runs_at_each_radius_give() -> None:
    model, x, y = curved(torch.float32)
    _, away = fmn().minimal_distances(model, x, y)
    for radius in (0.02, 0.05, 0.1, 0.2):
        fooled = model(fmn(epsilon=radius)(model, x, y)).argmax(dim=1) != y
        assert fooled[away <= radius].all()


def test_what_is_wrong_is_at_distance_zero_and_what_cannot_be_fooled_at_infinity() -> None:
    model, x, y = linear()
    y = y.clone()
    y[::2] = 1 - y[::2]
    images, away = fmn().minimal_distances(model, x, y)
    assert (away[::2] == 0).all()
    assert torch.equal(images[::2], x[::2])
    assert torch.equal(fmn()(model, x, y)[::2], x[::2])
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    flat[1].weight.data.zero_()
    flat[1].bias.data = torch.tensor([1.0, 0.0])
    images, away = fmn(steps=5).minimal_distances(flat, x, torch.zeros_like(y))
    assert torch.isinf(away).all()
    assert torch.equal(images, x)
    assert torch.equal(fmn(steps=5)(flat, x, torch.zeros_like(y)), x)


def test_a_fooled_image_leaves_the_batch() -> None:
    model, x, y = linear()
    seen: list[int] = []
    model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    fmn(epsilon=solved(model, x, y, "linf").median().item())(model, x, y)
    assert seen[1] == len(x)
    assert seen[-2] < len(x)


def test_an_image_is_attacked_alike_alone_and_in_a_batch_and_no_image_at_all_is_fine() -> None:
    model, x, y = curved()
    _, together = fmn(steps=30).minimal_distances(model, x, y)
    alone = [
        fmn(steps=30).minimal_distances(model, x[i : i + 1], y[i : i + 1])[1] for i in range(len(x))
    ]
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-9, atol=0)  # order of sums
    assert fmn()(model, x[:0], y[:0]).shape == (0, 3, 2, 2)
    images, away = fmn().minimal_distances(model, x[:0], y[:0])
    assert (images.shape, away.shape) == ((0, 3, 2, 2), (0,))


def test_leaves_the_model_as_it_was() -> None:
    model, x, y = curved(torch.float32)
    model.train()
    fmn(steps=3).minimal_distances(model, x, y)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
