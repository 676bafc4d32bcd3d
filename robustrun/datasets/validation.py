"""The validation split, cut from the training split before the first epoch."""

import torch
from torch import Tensor

from robustrun.errors import ConfigError
from robustrun.types import Images, Splits


def cut_validation(splits: Splits, fraction: float, seed: int) -> tuple[Images, Images | None]:
    """(what is left to train on, validation images without augmentation or None for fraction 0).

    Any fraction above 0 gives at least one image. Both parts keep the order of the training split.
    """
    if fraction == 0 or len(splits.train) == 0:
        return splits.train, None
    count = len(splits.train)
    held_out = max(1, round(count * fraction))
    if held_out >= count:
        raise ConfigError(
            f"training.validation_fraction is {fraction}, which takes {held_out} of {count} "
            f"training images and leaves none to train on. Choose a smaller fraction."
        )
    order = last_ones_first_cut(splits, seed)
    left, cut = order[:-held_out].sort().values, order[-held_out:].sort().values
    return splits.train.subset(left), splits.train.plain().subset(cut)


def last_ones_first_cut(splits: Splits, seed: int) -> Tensor:
    """The training images' positions, those at the end to be cut off first.

    `tail` is the tail of the files: a long-tailed subset stands in order of its classes, so its
    images go back to the order of `chosen`. `random` has a generator of its own: the split does
    not depend on what else was drawn.
    """
    if splits.validation_from == "tail":
        return torch.arange(len(splits.train)) if splits.chosen is None else splits.chosen.argsort()
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(len(splits.train), generator=generator)
