"""What a library's published weights were trained with: the normalisation and the size of images.

`weights` as the value of `model.mean`, `model.std` or `model.image_size` stands for it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.errors import ConfigError, require
from robustrun.models.normalize import Normalize, check_statistics
from robustrun.models.trial import reason
from robustrun.types import Shape

Values = Literal["weights"] | tuple[float, ...]
Size = Literal["weights"] | int | None
OWN = "weights"
SAME = 1e-3  # in pixel units: statistics are quoted with three or four digits


@dataclass(frozen=True)
class Published:
    """Of published weights, or of those that an architecture would have."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int  # pixels a side


@dataclass(frozen=True)
class Input:
    """What a network is given: normalised how, and scaled to how many pixels a side (None: as the
    images are)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None

    def shape(self, shape: Shape) -> Shape:
        """Of the images that come to the network, where the data set's have `shape`."""
        return shape if self.size is None else (shape[0], self.size, self.size)


def check(mean: Values, std: Values, image_size: Size) -> None:
    """The range checks of the three keys."""
    one = (1.0,)
    check_statistics(one if mean == OWN else mean, one if std == OWN else std)  # type: ignore[arg-type]
    right = "at least 1, weights, or null"
    sensible = image_size in (None, OWN) or int(image_size or 0) >= 1
    require(sensible, "image_size", image_size, right)


def resolved(mean: Values, std: Values, image_size: Size, own: Published | None) -> Input:
    """The three keys as values; ConfigError where `weights` is asked for and nothing is `own`."""
    values = (mean, std, image_size)
    for key, value in zip(("mean", "std", "image_size"), values, strict=True):
        if value == OWN and own is None:
            raise ConfigError(
                f"model.{key} is 'weights', but no weights were published for this architecture: "
                f"give the value itself."
            )
    theirs = (None, None, None) if own is None else (own.mean, own.std, own.size)
    chosen = [b if a == OWN else a for a, b in zip(values, theirs, strict=True)]
    return Input(*chosen)  # type: ignore[arg-type]


def for_channels(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Statistics of three channels for another number: of grey images, their mean."""
    if channels == 1:
        return (sum(values) / len(values),)
    return tuple(values[n % len(values)] for n in range(channels))


def another_normalisation(given: Input, own: Published, source: str) -> str:
    """What is said of images that are not normalised as for published weights, with what to type;
    empty if they are."""
    words = [
        f"model.{key}=weights"
        for key, ours, theirs in (("mean", given.mean, own.mean), ("std", given.std, own.std))
        if not _same(ours, theirs)
    ]
    if not words:
        return ""
    return (
        f"{source} was trained on images normalised by mean {_listed(own.mean)} and std "
        f"{_listed(own.std)}, and here they are by {_listed(given.mean)} and "
        f"{_listed(given.std)}. To use it as it was trained: {' '.join(words)}."
    )


def _same(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    each = for_channels(ours, len(theirs)) if len(ours) == 1 else ours
    if len(each) != len(theirs):
        return True  # `Normalize` says what is wrong
    return all(abs(a - b) <= SAME for a, b in zip(each, theirs, strict=True))


def _listed(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:.4g}' for value in values)}]"


class Scale(nn.Module):
    """Images of `size` x `size` pixels (bilinear; smoothed where there are fewer than before).

    It is a part of the network: an attack changes the pixels of the images before it.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        size, smaller = (self.size, self.size), max(x.shape[-2:]) > self.size
        return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=smaller)

    def extra_repr(self) -> str:
        return f"{self.size}"


def assembled(
    network: nn.Module, normalize: Normalize, scale: int | None, shape: Shape, what: str, hint: str
) -> nn.Sequential:
    """A library's network with what comes before it; ConfigError if it refuses a trial image.

    What sizes such a network takes is nowhere written down, so it is tried.
    """
    parts: dict[str, nn.Module] = {} if scale is None else {"scale": Scale(scale)}
    parts |= {"normalize": normalize, "network": network}
    model = nn.Sequential(OrderedDict(parts)).eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape))
    except (RuntimeError, AssertionError, ValueError, ArithmeticError) as error:
        raise refusal(what, shape, error, hint) from error
    return model.train()


def refusal(what: str, shape: Shape, error: BaseException, hint: str = "") -> ConfigError:
    """What is said of a network that does not take the images."""
    return ConfigError(
        f"{what} cannot take images of {shape[1]} x {shape[2]} pixels with {shape[0]} "
        f"channel{'s'[: shape[0] != 1]} ({reason(error)}).{hint}"
    )
