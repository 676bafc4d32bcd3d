"""Images are normalised inside a network, with statistics of the configuration."""

from typing import Any

import pytest
import torch

from models.networks import COLOUR, LINEAR, ROUNDING, SMALL, built
from robustrun.errors import ConfigError
from robustrun.models.resnet import PreActResNet18
from robustrun.models.simple_cnn import SimpleCNN
from robustrun.models.vgg_features import VGGFeatures

WIDTHS: dict[str, Any] = {"widths": (6, 16), "hidden": (120, 84), "weights": "random"}


@pytest.mark.parametrize("name", SMALL)
def test_images_are_normalised_inside(name: str) -> None:
    plain = built(name, (3, 8, 8))
    normalising = built(name, (3, 8, 8))
    normalising.load_state_dict(plain.state_dict())
    mean, std = torch.tensor([0.5, 0.25, 0.75]), torch.tensor([0.5, 2.0, 0.25])
    normalising.normalize.mean.copy_(mean.view(1, 3, 1, 1))
    normalising.normalize.std.copy_(std.view(1, 3, 1, 1))
    x = torch.rand(2, 3, 8, 8)
    by_hand = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(normalising(x), plain(by_hand), **ROUNDING)
    assert not torch.allclose(normalising(x), plain(x))


@pytest.mark.parametrize("mean", [(0.5,), (0.5, 0.25, 0.75)])
def test_statistics_are_set_from_the_configuration_and_saved_with_the_weights(
    mean: tuple[float, ...],
) -> None:
    settings = SimpleCNN(**WIDTHS, mean=mean, std=(0.25, 0.5, 1.0))
    saved = settings.build(COLOUR, 10).state_dict()
    assert saved["normalize.mean"].flatten().tolist() == list(mean) * (3 // len(mean))
    assert saved["normalize.std"].flatten().tolist() == [0.25, 0.5, 1.0]


def test_statistics_of_another_number_of_channels_are_refused() -> None:
    settings = SimpleCNN(**WIDTHS, mean=(0.5, 0.5), std=(1.0,))
    with pytest.raises(ConfigError, match=r"^model\.mean has 2 values for 3 channels"):
        settings.build(COLOUR, 10)


@pytest.mark.parametrize("std", [(0.0,), (0.5, -1.0, 0.5), ()])
def test_a_standard_deviation_that_is_not_above_zero_is_refused(std: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^std is"):
        PreActResNet18(weights="random", mean=(0.0,), std=std)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers": 3}, "layers is 3, but must be from 4 to 31"),
        ({"layers": 32}, "layers is 32"),
        ({"hidden": (0, 84)}, "hidden is"),
    ],
)
def test_values_out_of_range_are_refused(changed: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"layers": 9, **LINEAR}
    with pytest.raises(ConfigError, match=message):
        VGGFeatures(**settings | changed)
