"""The networks of LPIPS, and the files of their weights."""

from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robustrun.attacks.perceptual import lpips_networks
from robustrun.attacks.perceptual.lpips_networks import LPIPS_NETWORKS, FeatureNetwork
from robustrun.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("alexnet", [64, 192, 384, 256, 256]),
        ("alexnet_cifar", [64, 192, 384, 256, 256]),
        ("vgg16", [64, 128, 256, 512, 512]),
    ],
)
def test_an_lpips_network_shows_five_activations_after_their_relus(name: str, channels: list[int]):
    network = LPIPS_NETWORKS[name]("random", None).load()
    activations = network(torch.rand(2, 3, 32, 32))
    assert [a.shape[1] for a in activations] == channels
    assert all(a.min() == 0 for a in activations)


@pytest.mark.parametrize(
    ("name", "side", "sides"),
    [  # by the kernels, strides and pools of the papers
        ("alexnet", 64, [15, 7, 3, 3, 3]),
        ("alexnet_cifar", 32, [16, 8, 4, 4, 4]),
        ("vgg16", 32, [32, 16, 8, 4, 2]),
    ],
)
def test_activations_are_as_large_as_the_papers_layers_leave_them(
    name: str, side: int, sides: list[int]
):
    network = LPIPS_NETWORKS[name]("random", None).load()
    assert [a.shape[2:] for a in network(torch.rand(1, 3, side, side))] == [(s, s) for s in sides]


def test_a_network_sees_normalised_images_grey_ones_as_colour_and_small_ones_enlarged():
    network = FeatureNetwork(nn.Sequential(nn.Identity(), nn.ReLU()), (0,), 4, 12)
    x = torch.rand(2, 1, 12, 18)
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    (shown,) = network(x)
    torch.testing.assert_close(shown, (x.expand(-1, 3, -1, -1) - mean) / std)
    assert not network.state_dict(), "the figures are no weights"
    assert len(network.features) == 1, "what comes after the last layer shown is not run"
    small = torch.full((1, 3, 6, 8), 0.5)
    assert network(small)[0].shape == (1, 3, 12, 16), "the shorter side is 12"
    torch.testing.assert_close(network(small)[0][0], ((0.5 - mean) / std).expand(-1, 12, 16))
    assert network(torch.rand(1, 3, 13, 20))[0].shape == (1, 3, 13, 20), "large ones stay"


def test_random_weights_are_torchs_of_the_seed_zero():
    """So that distances of the same images are the same in every version."""
    torch.manual_seed(0)
    expected = nn.Conv2d(3, 64, 3)
    first = LPIPS_NETWORKS["alexnet_cifar"]("random", None).load().features[0]
    assert torch.equal(first.weight, expected.weight)
    assert torch.equal(first.bias, expected.bias)


@pytest.mark.parametrize(
    ("name", "smallest"), [("alexnet", 31), ("alexnet_cifar", 7), ("vgg16", 16)]
)
def test_images_that_are_too_small_are_refused_or_enlarged(name: str, smallest: int):
    LPIPS_NETWORKS[name]("random", None).load()(torch.rand(1, 3, smallest, smallest))
    small = torch.rand(1, 1, smallest - 1, smallest - 1)  # grey, too
    with pytest.raises(ConfigError, match="enlarge_to is None"):
        LPIPS_NETWORKS[name]("random", None).load()(small)
    enlarged = LPIPS_NETWORKS[name]("random", 64).load()(small)
    assert enlarged[0].shape[-1] > 64 // 5  # the first activation has 64 / stride pixels a side


def test_random_lpips_networks_are_the_same_every_time_and_leave_torchs_generator_alone():
    state = torch.get_rng_state()
    one, two = (LPIPS_NETWORKS["alexnet_cifar"]("random", None).load() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def saved_weights() -> dict[str, Tensor]:
    network = LPIPS_NETWORKS["alexnet_cifar"]("random", None).load()
    return {f"features.{k}": v + 1 for k, v in network.features.state_dict().items()}


@pytest.mark.parametrize("form", ["safetensors", "state dict", "checkpoint"])
def test_weights_are_read_from_a_file(tmp_path, form: str):
    weights = saved_weights() | {"classifier.6.bias": torch.zeros(10)}
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_file(weights, path)
    elif form == "state dict":
        torch.save(weights, path)
    else:
        torch.save({"model": {f"model.{k}": v for k, v in weights.items()}, "arch": "x"}, path)
    network = LPIPS_NETWORKS["alexnet_cifar"](str(path), None).load()
    assert isinstance(network, FeatureNetwork)
    for key, value in network.features.state_dict().items():
        assert torch.equal(value, weights[f"features.{key}"])


@pytest.mark.parametrize("name", ["none.pt", "none.safetensors"])
def test_a_missing_weight_file_is_named(tmp_path, name: str):
    with pytest.raises(DataError, match=f"{name}', but there is no such file"):
        LPIPS_NETWORKS["alexnet"](str(tmp_path / name), None).load()


@pytest.mark.parametrize("name", ["bad.pt", "bad.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_a_damaged_weight_file_is_named(tmp_path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        LPIPS_NETWORKS["alexnet"](str(tmp_path / name), None).load()


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(saved_weights(), tmp_path / "cifar.safetensors")
    with pytest.raises(DataError, match="another network"):
        LPIPS_NETWORKS["vgg16"](str(tmp_path / "cifar.safetensors"), None).load()
    save_file({"w": torch.zeros(1)}, tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="no layers"):
        LPIPS_NETWORKS["vgg16"](str(tmp_path / "none.safetensors"), None).load()


def test_published_weights_without_a_network_are_a_message(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    refused = OSError("no route to host")
    monkeypatch.setattr("robustrun.storage.transfer.receive", Mock(side_effect=refused))
    with pytest.raises(DataError, match=r"alexnet_cifar\.pt.*no route to host.*lpips\.weights"):
        LPIPS_NETWORKS["alexnet_cifar"](None, None).load()


def test_images_are_normalised_as_the_published_weights_expect() -> None:
    """torchvision's figures for ImageNet, which its AlexNet and VGG-16 were trained with."""
    assert lpips_networks.IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert lpips_networks.IMAGENET_STD == (0.229, 0.224, 0.225)
