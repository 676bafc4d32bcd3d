"""StAdv: what its displacements do, and their bound."""

import torch

from attacks.small_attacks import stadv
from attacks.small_networks import tanh_network
from robustrun.attacks.stadv import displace


def test_no_displacement_is_the_image_itself_and_two_of_them_are_a_shift() -> None:
    x = torch.rand(2, 3, 6, 8)
    still = torch.zeros(2, 6, 8, 2)
    # float32 coordinates, of order 1, times half the side.
    torch.testing.assert_close(displace(x, still), x, atol=1e-5, rtol=0)
    right, down = still.clone(), still.clone()
    right[..., 0], down[..., 1] = 2 / 8, 2 / 6  # one pixel
    torch.testing.assert_close(displace(x, right)[..., :-1], x[..., 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(displace(x, right)[..., -1], x[..., -1], atol=1e-5, rtol=0)
    torch.testing.assert_close(displace(x, down)[..., :-1, :], x[..., 1:, :], atol=1e-5, rtol=0)
    half = displace(x, right / 2)[..., :-1]
    torch.testing.assert_close(half, (x[..., :-1] + x[..., 1:]) / 2, atol=1e-5, rtol=0)


def test_the_flow_never_reaches_further_than_its_bound() -> None:
    model, x, y = tanh_network()
    found = stadv(bound=0.02, steps=40)(model, x, y)
    # A pixel mixes with its neighbours: by 0.02 * 4 pixels of the steepest rise between them.
    rises = torch.maximum(x.diff(dim=2).abs().amax(), x.diff(dim=3).abs().amax())
    assert (found - x).abs().max() <= 2 * 0.02 * 4 * rises + 1e-5  # across and down


def test_results_name_the_bound() -> None:
    assert stadv().own_radius == ("flow", 0.1)
    assert not stadv().bounded
