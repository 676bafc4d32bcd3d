"""Projected ascent: its gradients, its steps written out, and where none comes back."""

import inspect

import pytest
import torch
from torch import Tensor, nn

from robustrun.attacks.search.ascent import ascend, gradient, input_gradient
from robustrun.errors import DataError


def test_the_gradient_is_the_inputs_alone() -> None:
    model = nn.Linear(3, 1)
    x = torch.rand(2, 3)
    slope, value = gradient(lambda x: (model(x) ** 2).sum(), x)
    expected = 2 * model(x) * model.weight
    torch.testing.assert_close(slope, expected.detach())
    assert value.item() == pytest.approx(float((model(x) ** 2).sum().detach()))
    assert not value.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert not x.requires_grad


@pytest.mark.parametrize("beside", [False, True])
def test_where_no_gradient_comes_back_it_is_said(beside: bool) -> None:
    x, other = torch.rand(2, 3).requires_grad_(), torch.rand(2, 3).requires_grad_()
    value = (x.detach() * other).sum() if beside else x.detach().sum()
    with pytest.raises(DataError, match=r"No gradient comes back.*attack=square"):
        input_gradient(value, x)


def test_a_graph_that_is_kept_gives_the_gradient_twice() -> None:
    x = torch.rand(2, 3).requires_grad_()
    value = (x**2).sum()
    first = input_gradient(value, x, keep_graph=True)
    assert torch.equal(first, input_gradient(value, x))


def test_a_graph_that_is_not_kept_is_freed() -> None:
    x = torch.rand(2, 3).requires_grad_()
    value = (x**2).sum()
    input_gradient(value, x)
    with pytest.raises(RuntimeError, match="second time"):
        input_gradient(value, x)


@pytest.mark.parametrize("steps", [0, 1, 3, 7])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_steps_are_madrys(norm: str, steps: int) -> None:
    x = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    weight = torch.randn_like(x)
    found = ascend(
        lambda x: (weight * x).sum(), x, x, norm=norm, epsilon=0.05, step_size=0.02, steps=steps
    )
    unit = weight.sign() if norm == "linf" else weight / weight.flatten(1).norm(dim=1)[
        :, None, None, None
    ]  # fmt: skip
    expected = x.clone()
    for _ in range(steps):
        delta = expected + 0.02 * unit - x
        if norm == "linf":
            delta = delta.clamp(-0.05, 0.05)
        else:
            size = delta.flatten(1).norm(dim=1)[:, None, None, None]
            delta = delta * (0.05 / size).clamp(max=1)
        expected = (x + delta).clamp(0, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)  # float64, other order
    assert not found.requires_grad


def test_another_direction_and_projection_are_taken_at_each_step() -> None:
    x, seen = torch.full((1, 1, 2, 2), 0.5), []

    def halved(gradient: Tensor, norm: str) -> Tensor:
        return gradient.sign() / 2

    def kept_above(point: Tensor, x: Tensor, norm: str, epsilon: float) -> Tensor:
        seen.append((norm, epsilon))
        return point.clamp(0.42, 0.65)

    found = ascend(
        lambda x: x[..., 0].sum() - x[..., 1].sum(),
        x,
        x,
        norm="linf",
        epsilon=0.01,
        step_size=0.1,
        steps=2,
        direction=halved,
        projection=kept_above,
    )
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.6, 0.42]] * 2))
    assert seen == [("linf", 0.01)] * 2


def test_numbers_are_given_by_their_names() -> None:
    taken = inspect.signature(ascend).parameters.values()
    named = [its.name for its in taken if its.kind is its.KEYWORD_ONLY]
    assert named == ["norm", "epsilon", "step_size", "steps", "direction", "projection"]
    assert not any(its.kind is its.POSITIONAL_ONLY for its in taken)
