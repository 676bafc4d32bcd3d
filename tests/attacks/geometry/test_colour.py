"""CIELUV, against published coordinates."""

import pytest
import torch

from robustrun.attacks.geometry.colour import to_luv, to_srgb


@pytest.mark.parametrize(
    ("srgb", "luv"),
    [  # as tables of CIE 1976 L*u*v* for D65 have it
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (53.24, 175.01, 37.76)),
        ((0.0, 1.0, 0.0), (87.73, -83.07, 107.39)),
        ((0.0, 0.0, 1.0), (32.30, -9.40, -130.34)),
    ],
)
def test_known_colours_have_their_known_coordinates(
    srgb: tuple[float, ...], luv: tuple[float, ...]
) -> None:
    found = to_luv(torch.tensor(srgb).view(1, 3, 1, 1)).flatten()
    expected = torch.tensor([luv[0] / 100, luv[1] / 200 + 0.5, luv[2] / 200 + 0.5])
    # Tables differ in the white point's last digit; black counts as 0.01 lighter than it is.
    torch.testing.assert_close(found, expected, atol=6e-4, rtol=0)


def test_colours_come_back_as_they_were() -> None:
    x = torch.rand(4, 3, 16, 16)
    x[0] = 0.0
    x[1] *= 0.02  # nearly black
    x[2] = x[2].round()
    torch.testing.assert_close(to_srgb(to_luv(x)), x, atol=1e-4, rtol=0)  # powers in float32


@pytest.mark.parametrize(
    ("level", "lightness"),
    [(0x03, 0.823), (0x11, 5.063), (0x1C, 10.268), (0x33, 21.247), (0x77, 50.034), (0x80, 53.585)],
)
def test_greys_have_their_lightness_and_no_hue(level: int, lightness: float) -> None:
    """As tables of CIE 1976 L* have it, also where it is linear in the light (0x03 and 0x11)."""
    luv = to_luv(torch.full((1, 3, 1, 1), level / 255)).flatten()
    torch.testing.assert_close(luv, torch.tensor([lightness / 100, 0.5, 0.5]), atol=3e-5, rtol=0)
    back = to_srgb(torch.tensor([lightness / 100, 0.5, 0.5]).view(1, 3, 1, 1))
    torch.testing.assert_close(back, torch.full((1, 3, 1, 1), level / 255), atol=2e-4, rtol=0)
