"""The augmentation of training images: batches on their device, each image drawn for itself."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

Border = Literal["zeros", "reflect"]
Policy = Literal["autoaugment", "randaugment"]

LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue in grey, as torchvision has it


class AugmentSettings(Protocol):
    """The keys of a data set that augmentation has."""

    @property
    def policy(self) -> Policy | None: ...

    @property
    def crop_padding(self) -> int: ...

    @property
    def crop_border(self) -> Border: ...

    @property
    def flip(self) -> bool: ...

    @property
    def color_jitter(self) -> float: ...

    @property
    def rotation(self) -> float: ...


@dataclass(frozen=True)
class Augment:
    """Policy, random crop, horizontal flip, colour jitter and rotation, in this order.

    All randomness is torch's global generators'; what is switched off draws nothing.
    """

    crop_padding: int  # pixels on each side
    flip: bool
    crop_border: Border = "zeros"
    policy: Policy | None = None
    color_jitter: float = 0.0  # largest change of each factor
    rotation: float = 0.0  # degrees either way

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels N x C x H x W: uint8, or float in [0, 1]. Jitter and rotation give floats."""
        if self.policy is not None:
            pixels = with_policy(pixels, self.policy)
        if self.crop_padding:
            pixels = random_crop(pixels, self.crop_padding, self.crop_border)
        if self.flip:
            pixels = random_flip(pixels)
        if self.color_jitter:
            pixels = jittered(as_floats(pixels), self.color_jitter)
        return random_rotation(as_floats(pixels), self.rotation) if self.rotation else pixels


def augmentation(settings: AugmentSettings) -> Augment:
    """What a data set's settings say."""
    return Augment(
        settings.crop_padding,
        settings.flip,
        settings.crop_border,
        settings.policy,
        settings.color_jitter,
        settings.rotation,
    )


def random_crop(pixels: Tensor, padding: int, border: Border = "zeros") -> Tensor:
    """Each image shifted by up to `padding` pixels either way; zeros come in at the border, or the
    image reflected in its outermost pixels."""
    count, channels, height, width = pixels.shape
    padded = F.pad(pixels, [padding] * 4) if border == "zeros" else reflected(pixels, padding)
    tall, wide = padded.shape[2:]
    dy, dx = torch.randint(0, 2 * padding + 1, (2, count), device=pixels.device)
    images = torch.arange(count, device=pixels.device) * (channels * tall * wide) + dy * wide + dx
    planes = torch.arange(channels, device=pixels.device) * (tall * wide)
    rows = torch.arange(height, device=pixels.device) * wide
    starts = images[:, None, None] + planes[:, None] + rows  # N x C x H: where each row begins
    # A view of every run of `width` pixels: rows are copied whole, not pixel by pixel.
    runs = padded.flatten().unfold(0, width, 1)
    return runs.index_select(0, starts.flatten()).view(pixels.shape)


def reflected(pixels: Tensor, padding: int) -> Tensor:
    """Images with a border as numpy.pad's "reflect" makes it, for any type and any padding."""
    for axis in (2, 3):
        period = max(2 * (pixels.shape[axis] - 1), 1)
        places = torch.arange(-padding, pixels.shape[axis] + padding, device=pixels.device) % period
        pixels = pixels.index_select(axis, torch.minimum(places, period - places))
    return pixels


def random_flip(pixels: Tensor) -> Tensor:
    """Each image mirrored left to right with probability 1/2."""
    count = len(pixels)
    mirrored = torch.rand(count, device=pixels.device) < 0.5
    # Whole images are picked from both kinds: faster than torch.where, which goes pixel by pixel.
    both = torch.cat([pixels, pixels.flip(-1)])
    return both.index_select(0, torch.arange(count, device=pixels.device) + count * mirrored)


def as_floats(pixels: Tensor) -> Tensor:
    """uint8 pixels as float32 in [0, 1]; float pixels as they are."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels


def jittered(pixels: Tensor, strength: float) -> Tensor:
    """Float images with brightness, contrast and saturation each times a factor drawn from
    [1 - strength, 1 + strength], in an order of each image's own: torchvision's ColorJitter."""
    factors = 1 + strength * (2 * torch.rand(3, len(pixels), 1, 1, 1, device=pixels.device) - 1)
    orders = torch.rand(len(pixels), 3, device=pixels.device).argsort(dim=1)
    return recoloured(pixels, factors, orders)


def recoloured(pixels: Tensor, factors: Tensor, orders: Tensor) -> Tensor:
    """Blends with black (0, brightness), the mean grey (1, contrast) and the grey image (2,
    saturation): `factors` 3 x N x 1 x 1 x 1 of each, in `orders` N x 3."""
    for kind in orders.view(len(pixels), 3, 1, 1, 1).unbind(1):
        grey = luminance(pixels)
        mean = grey.mean(dim=(1, 2, 3), keepdim=True)
        other = torch.where(kind == 2, grey, mean * (kind == 1))
        factor = torch.where(kind == 0, factors[0], torch.where(kind == 1, factors[1], factors[2]))
        pixels = (factor * pixels + (1 - factor) * other).clamp(0, 1)
    return pixels


def luminance(pixels: Tensor) -> Tensor:
    """Grey images N x 1 x H x W of images with one channel or three."""
    if pixels.shape[1] == 1:
        return pixels
    weights = torch.tensor(LUMA, dtype=pixels.dtype, device=pixels.device)
    return (pixels * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def random_rotation(pixels: Tensor, degrees: float) -> Tensor:
    """Each float image turned about its centre by an angle drawn from [-degrees, degrees]."""
    angles = degrees * (2 * torch.rand(len(pixels), device=pixels.device) - 1)
    return rotated(pixels, angles)


def rotated(pixels: Tensor, degrees: Tensor) -> Tensor:
    """Float images turned counter-clockwise, each by its own angle: the nearest pixel, and zeros
    from outside, as torchvision's RandomRotation does it."""
    height, width = pixels.shape[2:]
    turns = degrees * (math.pi / 180)
    cosine, sine = turns.cos(), turns.sin()
    none = torch.zeros_like(turns)
    rows = [cosine, -sine * height / width, none, sine * width / height, cosine, none]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(pixels.shape), False)
    return F.grid_sample(pixels, grid, mode="nearest", align_corners=False)


def with_policy(pixels: Tensor, policy: Policy) -> Tensor:
    """Images through torchvision's AutoAugment (the policy of CIFAR-10) or RandAugment (2
    operations of magnitude 8), one by one; float images are rounded to 256 levels."""
    # torchvision takes seconds to import, and most runs do without it.
    from torchvision.transforms import AutoAugmentPolicy, v2

    change = (
        v2.AutoAugment(AutoAugmentPolicy.CIFAR10)
        if policy == "autoaugment"
        else v2.RandAugment(num_ops=2, magnitude=8)
    )
    if pixels.dtype == torch.uint8:
        return torch.stack([change(image) for image in pixels])
    levels = (pixels * 255).round().to(torch.uint8)
    return as_floats(with_policy(levels, policy))
