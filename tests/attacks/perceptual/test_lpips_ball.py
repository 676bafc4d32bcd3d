"""The LPIPS ball: the way back into it, and the proof of being in it."""

import pytest
import torch

from attacks.networks_with_features import (
    batch,
    network,
    written_out_distance,
    written_out_features,
)
from attacks.small_attacks import BOUND
from robustrun.attacks.perceptual.lpips import PerceptualModel
from robustrun.attacks.perceptual.lpips_ball import bisect, check_inside, project_lpips


class Pixels:
    """The pixels themselves are the features, so that distances are Euclidean."""

    def __init__(self) -> None:
        self.looks = 0

    def features(self, x: torch.Tensor) -> torch.Tensor:
        self.looks += 1
        return x.flatten(1)


def test_the_farthest_point_in_the_ball_is_found_by_ten_halvings():
    x, pixels = torch.full((2, 1, 1, 1), 0.5), Pixels()
    x_adv = x + torch.tensor([0.4, -0.3]).view(2, 1, 1, 1)
    found = bisect(pixels, x_adv, x, x.flatten(1), 0.11)
    shares = [281 / 1024, 375 / 1024]  # the last multiples of 2 ** -10 up to 0.11 / 0.4, 0.11 / 0.3
    moved = torch.tensor([0.4 * shares[0], -0.3 * shares[1]]).view(2, 1, 1, 1)
    torch.testing.assert_close(found - x, moved, rtol=0, atol=1e-6)
    assert pixels.looks == 10


def test_the_authors_ten_newton_steps_are_tried_before_the_line():
    class Above(Pixels):
        """Where no step leads back to the ball: as far away as it was."""

        def features(self, x: torch.Tensor) -> torch.Tensor:
            return super().features(x) * 0 + torch.tensor([[0.0, 3.0]])

    x, stuck = torch.full((1, 1, 1, 2), 0.5), Above()
    project_lpips(stuck, x + 0.1, x, torch.zeros(1, 2), 0.1)
    assert stuck.looks == 10 + 1 + 10  # the last look, and the line's


def test_rounding_is_allowed_for_in_the_ball_and_nothing_more():
    x, pixels = torch.full((1, 1, 1, 1), 0.5), Pixels()
    allowed = 0.1 * 1.002 + 0.002
    inside, outside = x + allowed - 1e-5, x + allowed + 1e-5
    assert check_inside(pixels, inside, x, x.flatten(1), 0.1) is inside
    with pytest.raises(RuntimeError, match="left the LPIPS ball"):
        check_inside(pixels, outside, x, x.flatten(1), 0.1)
    with pytest.raises(RuntimeError, match="left the LPIPS ball"):
        check_inside(pixels, x * torch.nan, x, x.flatten(1), 0.1)
    for level in (0.0, 1.0):
        edge = torch.full_like(x, level)
        check_inside(pixels, edge, x, x.flatten(1), 1.0)
        beyond = edge + (1e-3 if level else -1e-3)
        with pytest.raises(RuntimeError, match="image box"):
            check_inside(pixels, beyond, x, x.flatten(1), 1.0)
    assert check_inside(pixels, x[:0], x[:0], x[:0].flatten(1), 0.1).shape == (0, 1, 1, 1)


def test_the_projection_leaves_what_is_inside_and_brings_back_what_is_not():
    model = network(torch.float32).eval()
    x, _ = batch(model)
    perception = PerceptualModel(model, None)
    clean = perception.features(x).detach()
    x_adv = x.clone()
    x_adv[:3] = (x[:3] + 0.001).clamp(0, 1)
    x_adv[3:] = torch.rand_like(x[3:])
    projected = project_lpips(perception, x_adv, x, clean, BOUND)
    assert torch.equal(projected[:3], x_adv[:3])
    distance = perception.distance(projected, x)
    assert distance.max() <= BOUND
    assert distance[3:].min() > 0


def test_the_projection_takes_the_authors_newton_step():
    model = network().eval()
    x, _ = batch(model, 1)
    point = torch.rand_like(x).requires_grad_()
    d = written_out_distance(model, point, x)
    (slope,) = torch.autograd.grad(d.sum(), point)
    bound = d.item() - 0.01
    expected = (point - (0.01 + 0.1) * 1.1 * slope / (slope**2).sum()).clamp(0, 1)
    clean = written_out_features(model, x).detach()
    projected = project_lpips(PerceptualModel(model, None), point.detach(), x, clean, bound)
    torch.testing.assert_close(projected, expected.detach(), rtol=0.0, atol=1e-10)


def test_what_no_step_brings_back_is_met_on_the_line_to_the_clean_image(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("robustrun.attacks.perceptual.lpips_ball.NEWTON_STEPS", 0)
    model = network(torch.float32).eval()
    x, _ = batch(model)
    perception = PerceptualModel(model, None)
    clean = perception.features(x).detach()
    x_adv = torch.rand_like(x) * 1.5 - 0.2  # beyond both walls of the box
    projected = project_lpips(perception, x_adv, x, clean, BOUND)
    assert perception.distance(projected, x).max() <= BOUND
    way, whole = (projected - x).flatten(1), (x_adv.clamp(0, 1) - x).flatten(1)
    share = way.norm(dim=1) / whole.norm(dim=1)
    assert share.min() > 0
    torch.testing.assert_close(way, share[:, None] * whole)


def test_an_image_outside_the_ball_is_reported():
    model = network(torch.float32).eval()
    x, _ = batch(model)
    perception = PerceptualModel(model, None)
    clean = perception.features(x).detach()
    with pytest.raises(RuntimeError, match="left the LPIPS ball"):
        check_inside(perception, torch.rand_like(x), x, clean, 0.01)
    with pytest.raises(RuntimeError, match="image box"):
        check_inside(perception, x + 1.0, x, clean, 100.0)
