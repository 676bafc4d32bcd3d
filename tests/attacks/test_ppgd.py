"""PPGD: a step written out."""

import math

import pytest
import torch

from attacks.networks_with_features import batch, network, written_out_features
from attacks.small_attacks import SELF
from robustrun.attacks.perceptual.lpips import PerceptualModel
from robustrun.attacks.ppgd import PPGD
from robustrun.losses import margin


def test_a_step_of_ppgd_is_the_written_out_one():
    model = network().eval()
    x = batch(model, 1)[0] * 0.6 + 0.2  # away from the walls of the image box
    y = model(x).argmax(dim=1)
    attack = PPGD("linf", 0.1, 1.0, 1, 0.01, 5, math.inf, probe=1e-6, start_std=0.0, lpips=SELF)
    moved = attack(model, x, y) - x
    jacobian = torch.autograd.functional.jacobian(
        lambda v: written_out_features(model, v).flatten(), x
    ).flatten(1)
    b = torch.autograd.functional.jacobian(lambda v: margin(model(v), y), x).flatten()
    # Five conjugate gradient iterations minimise over the first five Krylov vectors.
    krylov = [b]
    for _ in range(4):
        krylov.append(jacobian.T @ (jacobian @ krylov[-1]))
    basis = torch.linalg.qr(torch.stack([k / k.norm() for k in krylov], dim=1)).Q
    gram = basis.T @ jacobian.T @ jacobian @ basis
    v = basis @ torch.linalg.solve(gram, basis.T @ b)
    expected = 0.01 * v / (jacobian @ v).norm()
    # the attack's finite differences are right to about 1e-5
    torch.testing.assert_close(moved.flatten(), expected, rtol=1e-2, atol=1e-6)
    assert PerceptualModel(model, None).distance(x + moved, x).item() == pytest.approx(
        0.01, rel=0.1
    )


@pytest.mark.parametrize(("steepness", "moves"), [(0.9e-4, False), (1.1e-4, True)])
def test_a_slope_too_flat_to_show_a_direction_is_not_followed(steepness: float, moves: bool):
    model = network().eval()
    x = batch(model, 1)[0] * 0.6 + 0.2
    y = model(x).argmax(dim=1)
    point = x.clone().requires_grad_()
    slope = torch.autograd.grad(margin(model(point), y).sum(), point)[0]
    with torch.no_grad():  # the logits, and with them the slope, become as flat as asked
        model.head.weight *= steepness / slope.norm()
        model.head.bias *= steepness / slope.norm()
    perception = PerceptualModel(model, None)
    attack = PPGD("linf", 0.1, 1.0, 1, 0.01, 5, math.inf, probe=1e-6, start_std=0.0, lpips=SELF)
    found, fooled = attack._step(perception, x, y, perception.features(x).detach())
    assert bool((found != x).any()) == moves
    assert not fooled.any()
