"""Networks: the published sizes, their features, and what all of them have in common."""

import pytest
import torch
from torch import nn

from models.networks import COLOUR, DIGITS, OURS, ROUNDING, SMALL, built, sizes, sketched
from robustrun.errors import ConfigError
from robustrun.types import HasFeatures, Shape

# --- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("simple_cnn", 62_006),  # the notebook's
        ("resnet18", 11_173_962),
        ("resnet50", 23_520_842),
        ("preact_resnet18", 11_172_170),  # counted in Rice et al.'s and AWP's own networks
        ("wide_resnet28_10", 36_479_194),
        ("wide_resnet34_10", 46_160_474),
    ],
)
def test_networks_have_as_many_parameters_as_published(name: str, parameters: int) -> None:
    assert sum(sizes(sketched(OURS[name]))) == parameters


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (1, 28, 28), (3, 64, 48), (3, 33, 35)])
@pytest.mark.parametrize("name", list(OURS))
def test_every_network_takes_every_size(name: str, shape: Shape) -> None:
    network = sketched(OURS[name], shape, classes=7)
    assert isinstance(network, HasFeatures)
    logits, activations = network.with_features(torch.empty(2, *shape, device="meta"))
    assert logits.shape == (2, 7)
    assert all(a.dim() == 4 and len(a) == 2 for a in activations)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("simple_cnn", [(6, 28, 28), (16, 10, 10)]),
        ("vgg_features", [(64, 32, 32), (128, 16, 16)]),
        ("preact_resnet18", [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]),
        ("resnet50", [(256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4)]),
        ("wide_resnet28_10", [(160, 32, 32), (320, 16, 16), (640, 8, 8)]),
    ],
)
def test_features_are_those_of_the_stages(name: str, shapes: list[Shape]) -> None:
    _, activations = sketched(OURS[name]).with_features(torch.empty(2, *COLOUR, device="meta"))
    assert [a.shape[1:] for a in activations] == shapes


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("simple_cnn", 4), ("vgg_features", 2), ("preact_resnet18", 8), ("wide_resnet28_10", 4)],
)
def test_too_small_images_are_refused_with_the_smallest_size(name: str, smallest: int) -> None:
    logits = sketched(OURS[name], (3, smallest, smallest))(
        torch.empty(2, 3, smallest, smallest, device="meta")
    )
    assert logits.shape == (2, 10)
    message = f"^model.name is '{name}'.* from {smallest} x {smallest} pixels"
    with pytest.raises(ConfigError, match=message):
        OURS[name].build((3, 32, smallest - 1), 10)


@pytest.mark.parametrize("name", list(OURS))
def test_the_last_linear_layer_gives_the_logits(name: str) -> None:
    layers = [m for m in sketched(OURS[name], classes=7).modules() if isinstance(m, nn.Linear)]
    assert layers[-1].out_features == 7


# --- what they compute -------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_features_come_with_the_same_logits(name: str) -> None:
    network, x = built(name, DIGITS), torch.rand(3, *DIGITS)
    assert torch.equal(network.with_features(x)[0], network(x))


@pytest.mark.parametrize("name", ["simple_cnn", "preact_resnet18"])
def test_weights_come_from_the_global_seed(name: str) -> None:
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(torch.cat([p.flatten() for p in built(name, DIGITS).parameters()]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_changes_nothing(name: str) -> None:
    network, x = built(name, (3, 8, 8)), torch.rand(2, 3, 8, 8)
    expected = network(x)
    network.to(memory_format=torch.channels_last)
    found = network(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, **ROUNDING)
