"""What every network begins with: images of a size and kind that it takes, normalised inside it."""

import torch
from torch import Tensor, nn

from robustrun.errors import ConfigError, require
from robustrun.types import Shape

MEANS, STDS = ("mean", "means", "mu"), ("std", "stds", "sigma")  # what a normalisation calls them


class Normalize(nn.Module):
    """(x - mean) / std per channel; one value serves all channels.

    With three channels it also takes grey images, whose one channel broadcasts to colour.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            if len(values) not in (1, channels):
                raise ConfigError(
                    f"model.{name} has {len(values)} values for {channels} "
                    f"channel{'s'[: channels != 1]}: give one value, or one per channel. Unless it "
                    f"is set, it is dataset.{name}."
                )
            shaped = torch.tensor(values, dtype=torch.float32).expand(channels)
            # Saved with the weights: a weight file alone then says what images it was trained on.
            self.register_buffer(name, shaped.reshape(1, channels, 1, 1).clone())

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def normalises_itself(network: nn.Module, channels: int) -> str | None:
    """The name of the part of a network that seems to normalise its images: it holds a mean and a
    standard deviation, each of one value or one per channel. None if there is no such part."""
    for name, module in network.named_modules():
        kinds = ([getattr(module, it, None) for it in names] for names in (MEANS, STDS))
        if all(any(_per_channel(value, channels) for value in values) for values in kinds):
            return name or type(module).__name__
    return None


def _per_channel(value: object, channels: int) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point() and value.numel() in (1, channels)
    if isinstance(value, list | tuple):
        numbers = all(isinstance(number, int | float) for number in value)
        return numbers and len(value) in (1, channels)
    return isinstance(value, float)


def check_statistics(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """The range checks that every model shares."""
    require(len(mean) >= 1, "mean", list(mean), "one number, or one per channel")
    one_or_more = len(std) >= 1 and min(std) > 0
    require(one_or_more, "std", list(std), "one number above 0, or one per channel")


def require_size(shape: Shape, smallest: int, name: str) -> None:
    """Raise ConfigError if images have a side below the `smallest` that the model `name` takes."""
    _, height, width = shape
    if min(height, width) < smallest:
        raise ConfigError(
            f"model.name is {name!r}, which takes images from {smallest} x {smallest} pixels; "
            f"these have {height} x {width}."
        )


def colour(name: str, shape: Shape, mean: tuple[float, ...], std: tuple[float, ...]) -> Normalize:
    """Normalisation for a network that knows colour only: grey images become colour."""
    if shape[0] not in (1, 3):
        raise ConfigError(
            f"model.name is {name!r}, which takes images with 1 or 3 channels; "
            f"these have {shape[0]}."
        )
    return Normalize(mean, std, 3)
