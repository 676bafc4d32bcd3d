"""CIELUV, the colour space in which equal distances look about equal, from sRGB and back (CIE 1976;
sRGB as in IEC 61966-2-1).

Both scaled as ReColorAdv has it: L / 100 and (u, v) / 200 + 1/2, so that [0, 1] holds most colours.
"""

import torch
from torch import Tensor

# Linear sRGB to XYZ, and the white point's u' and v' (D65), which grey has whatever its lightness.
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE_X, WHITE_Y, WHITE_Z = (sum(row) for row in TO_XYZ)
WHITE_U = 4 * WHITE_X / (WHITE_X + 15 * WHITE_Y + 3 * WHITE_Z)
WHITE_V = 9 * WHITE_Y / (WHITE_X + 15 * WHITE_Y + 3 * WHITE_Z)
LINEAR_Y = (6 / 29) ** 3  # below it, lightness is linear in Y: 903.3 Y
SLOPE = (29 / 3) ** 3
DARK = 1e-2  # lightness, of 100, that is added before a division: black has no hue
TINY = 1e-10  # keeps slopes of powers finite at 0, in branches that are not taken too


def _mix(matrix: Tensor, colours: Tensor) -> Tensor:
    return torch.einsum("ij,njhw->nihw", matrix, colours)


def to_luv(x: Tensor) -> Tensor:
    """sRGB images N x 3 x H x W in [0, 1] as scaled L, u, v."""
    linear = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    far, light, near = _mix(x.new_tensor(TO_XYZ), linear).unbind(dim=1)
    whole = (far + 15 * light + 3 * near).clamp_min(TINY)
    root = 116 * light.clamp_min(TINY) ** (1 / 3) - 16
    lightness = torch.where(light <= LINEAR_Y, SLOPE * light, root)
    # With the same offset as on the way back, so that dark colours return to what they were.
    scale = 13 * (lightness + DARK)
    u, v = scale * (4 * far / whole - WHITE_U), scale * (9 * light / whole - WHITE_V)
    black = whole <= TINY
    u, v = u.masked_fill(black, 0.0), v.masked_fill(black, 0.0)
    return torch.stack([lightness / 100, u / 200 + 0.5, v / 200 + 0.5], dim=1)


def to_srgb(luv: Tensor) -> Tensor:
    """The way back; colours that a screen cannot show end at the edge of [0, 1]."""
    lightness, u, v = luv.unbind(dim=1)
    lightness = (100 * lightness).clamp(0.0, 100.0)
    scale = 13 * (lightness + DARK)
    u_prime = (200 * u - 100) / scale + WHITE_U
    # No colour has a v' near 0; what a step leaves there would divide by it.
    v_prime = ((200 * v - 100) / scale + WHITE_V).clamp_min(1e-2)
    light = torch.where(lightness <= 8, lightness / SLOPE, ((lightness + 16) / 116) ** 3)
    far = light * 9 * u_prime / (4 * v_prime)
    near = light * (12 - 3 * u_prime - 20 * v_prime) / (4 * v_prime)
    back = torch.linalg.inv(torch.tensor(TO_XYZ, dtype=torch.float64)).to(luv)
    linear = _mix(back, torch.stack([far, light, near], dim=1)).clamp(0.0, 1.0)
    curve = 1.055 * linear.clamp_min(TINY) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve).clamp(0.0, 1.0)
