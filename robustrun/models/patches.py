"""How a network of patches begins: the size of its patches, and the ConvStem in place of one layer.

ConvStem: Xiao et al. 2021 (https://arxiv.org/abs/2106.14881), in adversarial training Singh, Croce
and Hein 2023 (https://arxiv.org/abs/2303.01870). XCiT's patches are those of Debenedetti, Sehwag
and Mittal 2022 (https://arxiv.org/abs/2209.07399), who fit ImageNet's network to CIFAR's images.
"""

from itertools import pairwise
from math import log2, prod
from typing import Any

from torch import nn

from robustrun.errors import ConfigError
from robustrun.types import Shape

MAKERS = "ViT, DeiT, Swin, XCiT and ConvNeXt do"


class ConvStem(nn.Sequential):
    """3 x 3 convolutions of stride 2, each with a layer norm and GELU, until `patch` x `patch`
    pixels have become one; the channels double up to `width`. With `projects` (the ViT's stem), a
    1 x 1 convolution follows, so that what comes out can have any sign."""

    def __init__(self, channels: int, width: int, patch: int, projects: bool) -> None:
        from timm.layers.norm import LayerNorm2d  # an extra: there where this is asked for

        strides = int(log2(patch))
        widths = [channels, *(max(width >> (strides - 1 - n), 8) for n in range(strides))]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)]
            layers += [LayerNorm2d(outputs), nn.GELU()]
        if projects:
            layers.append(nn.Conv2d(widths[-1], width, 1))
        super().__init__(*layers)


def with_conv_stem(network: nn.Module, channels: int, name: str) -> str:
    """Put a ConvStem in the place of the network's first layers; returns the name of these.
    ConfigError unless they make patches of 2, 4, 8 ... pixels."""
    first, place = _first_layers(network, name)
    strides = [m.stride[0] for m in first.modules() if isinstance(m, nn.Conv2d)]
    width = [m.out_channels for m in first.modules() if isinstance(m, nn.Conv2d)][-1]
    patch = prod(map(int, strides))
    if patch < 2 or patch & (patch - 1):
        raise ConfigError(
            f"model.stem is 'conv', whose convolutions halve the image, and the patches of {name} "
            f"have {patch} pixels a side: model.patch_size must be 2, 4, 8 …"
        )
    stem = ConvStem(channels, width, patch, projects=place != "stem")
    network.set_submodule(place, stem.to(next(first.parameters()).device))
    return place


def _first_layers(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The layers that make patches of pixels, and their place."""
    embedding: Any = getattr(network, "patch_embed", None)
    if isinstance(getattr(embedding, "proj", None), nn.Module):
        return embedding.proj, "patch_embed.proj"
    stem: Any = getattr(network, "stem", None)
    if isinstance(stem, nn.Sequential) and hasattr(network, "stages"):
        return stem, "stem"
    raise ConfigError(f"model.stem is 'conv', but {name} does not begin with patches; {MAKERS}.")


def with_fewer_strides(network: nn.Module, patch: int, name: str) -> None:
    """Let the first convolutions of an XCiT keep the size of the image, so that the rest makes
    patches of `patch` pixels; the weights stay as they are."""
    embedding: Any = network.patch_embed
    convolutions = [m for m in embedding.proj.modules() if isinstance(m, nn.Conv2d)]
    own = prod(int(layer.stride[0]) for layer in convolutions)
    smaller = [own >> n for n in range(len(convolutions) + 1)]
    if patch not in smaller:
        raise ConfigError(
            f"model.patch_size is {patch}, but must be {' or '.join(map(str, smaller))} for {name}."
        )
    for layer in convolutions[: smaller.index(patch)]:
        layer.stride = (1, 1)
    embedding.patch_size = patch
    height, width = embedding.img_size
    embedding.num_patches = (height // patch) * (width // patch)


def require_whole_patches(network: nn.Module, shape: Shape, name: str) -> None:
    """ConfigError if pixels at the edges of images would be in no patch."""
    embedding: Any = getattr(network, "patch_embed", None)
    if not isinstance(getattr(embedding, "proj", None), nn.Conv2d):
        return  # several convolutions, which see the edges
    patch = embedding.proj.stride
    padded = getattr(embedding, "dynamic_img_pad", False)
    left = [side % size for side, size in zip(shape[1:], patch, strict=True)]
    if any(left) and not padded:
        raise ConfigError(
            f"model.architecture {name!r}: images of {shape[1]} x {shape[2]} pixels are no whole "
            f"number of patches of {patch[0]} x {patch[1]}. A smaller model.patch_size fits them, "
            f"or model.image_size={14 * patch[0]} scales them inside the network."
        )
