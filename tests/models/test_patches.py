"""Networks of patches, small enough for CIFAR: ViT, XCiT and ConvNeXt, some with ConvStem."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from learners import sgd_learner
from torch import nn

import robustrun
from models.networks import ROUNDING
from robustrun.compute.search_copy import as_bfloat16, search_copy
from robustrun.errors import ConfigError
from robustrun.models.patches import ConvStem, with_conv_stem, with_fewer_strides

pytest.importorskip("timm", reason="robustrun[timm] is not installed")

CIFAR = (3, 32, 32)
TINY: dict[str, dict[str, Any]] = {  # arguments that leave a layer or two of each option
    "vit_tiny_patch4": {"depth": 2, "embed_dim": 48},
    "vit_small_patch4": {"depth": 1, "embed_dim": 48},
    "xcit_nano_12_p4": {"depth": 1, "embed_dim": 48, "cls_attn_layers": 1},
    "xcit_small_12_p4": {"depth": 1, "embed_dim": 48, "cls_attn_layers": 1},
    "convnext_atto_patch2": {"depths": [1, 1, 1, 1], "dims": [16, 16, 24, 24]},
    "convnext_tiny_patch2": {"depths": [1, 1, 1, 1], "dims": [16, 16, 24, 24]},
}
STEMS = {  # of each option one is tried
    "vit_tiny_patch4": "default",
    "vit_small_patch4": "conv",
    "xcit_nano_12_p4": "default",
    "xcit_small_12_p4": "conv",
    "convnext_atto_patch2": "default",
    "convnext_tiny_patch2": "conv",
}


def built(option: str, stem: str = "default", **more: Any) -> Any:
    torch.manual_seed(0)
    settings = {"arguments": TINY[option], "stem": stem} | more
    return robustrun.model(option, dataset="cifar10", **settings).build(CIFAR, 10)


@pytest.mark.parametrize(("option", "stem"), STEMS.items())
def test_a_network_of_patches_is_trained_attacked_and_searched_with_copies(
    option: str, stem: str
) -> None:
    network, x, y = built(option, stem), torch.rand(4, *CIFAR), torch.arange(4)
    learner = sgd_learner(network)
    before = {name: p.clone() for name, p in network.named_parameters()}
    learner.update(learner.cross_entropy(network(x), y))
    still = {name for name, p in network.named_parameters() if torch.equal(p, before[name])}
    assert not still  # each layer takes part
    network.eval()
    attack = robustrun.attack("pgd", norm="linf", epsilon=8 / 255, steps=2)
    x_adv = attack(network, x, y)
    losses = [F.cross_entropy(network(images), y) for images in (x, x_adv)]
    assert losses[1] > losses[0]
    with torch.no_grad():
        logits = network(x)
        searched = search_copy(network, x)
        assert searched is not None
        torch.testing.assert_close(searched(x), logits, **ROUNDING)
        # bfloat16 has 8 bits of precision; two layers add a few roundings.
        low = as_bfloat16(searched)(x)
        assert (low - logits).abs().max() < 0.05 * logits.abs().max()
        network.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(x), logits, **ROUNDING)


def test_patches_have_as_many_pixels_as_the_option_says() -> None:
    x = torch.rand(1, *CIFAR)
    vit, xcit = built("vit_small_patch4").network, built("xcit_small_12_p4").network
    assert (vit.patch_embed.grid_size, vit.pos_embed.shape[1]) == ((8, 8), 65)  # and a class token
    assert xcit.patch_embed.proj(x).shape[-2:] == (8, 8)
    assert built("convnext_tiny_patch2").network.stem(x).shape[-2:] == (16, 16)
    strides = [m.stride for m in xcit.patch_embed.proj.modules() if isinstance(m, nn.Conv2d)]
    assert strides == [(1, 1), (1, 1), (2, 2), (2, 2)]  # as Debenedetti et al. change them


def test_drop_path_drops_in_training_alone() -> None:
    network, x = built("vit_tiny_patch4", drop_path=0.5), torch.rand(2, *CIFAR)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("patch", "projects", "widths"),
    [
        (16, True, [48, 96, 192, 384, 384]),  # ViT-S of Singh et al.: 804,576 weights and biases
        (4, False, [192, 384]),
    ],
)
def test_a_conv_stem_halves_the_image_until_a_patch_is_a_pixel(
    patch: int, projects: bool, widths: list[int]
) -> None:
    stem = ConvStem(3, 384, patch, projects)
    assert [m.out_channels for m in stem if isinstance(m, nn.Conv2d)] == widths
    assert stem(torch.rand(1, 3, 32, 32)).shape == (1, 384, 32 // patch, 32 // patch)
    assert not projects or isinstance(stem[-1], nn.Conv2d)


def test_what_cannot_be_a_stem_or_a_patch_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"does not begin with patches; ViT, DeiT"):
        with_conv_stem(nn.Sequential(nn.Linear(2, 2)), 3, "linear")
    network = built("xcit_nano_12_p4").network
    with pytest.raises(ConfigError, match="patch_size is 3, but must be 4 or 2 or 1"):
        with_fewer_strides(network, 3, "xcit")
