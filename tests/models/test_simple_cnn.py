"""The notebook's network."""

import pytest
import torch
import torch.nn.functional as F

from models.networks import COLOUR, DIGITS, ROUNDING, built
from robustrun.types import Shape


@pytest.mark.parametrize(("shape", "padding"), [(COLOUR, 0), (DIGITS, 2)])
def test_simple_cnn_is_the_notebooks(shape: Shape, padding: int) -> None:
    network, x = built("simple_cnn", shape), torch.rand(3, *shape)
    p, h = network.state_dict(), x
    for layer in ("conv1", "conv2"):
        h = F.conv2d(h, p[f"{layer}.weight"], padding=padding)
        h = (h + p[f"{layer}.bias"].view(1, -1, 1, 1)).clamp_min(0)
        n, c, height, width = h.shape
        h = h.view(n, c, height // 2, 2, width // 2, 2).amax(dim=(3, 5))
    h = h.reshape(3, -1)
    for layer in ("fc1", "fc2", "fc3"):
        h = h @ p[f"{layer}.weight"].T + p[f"{layer}.bias"]
        h = h if layer == "fc3" else h.clamp_min(0)
    torch.testing.assert_close(network(x), h, **ROUNDING)
