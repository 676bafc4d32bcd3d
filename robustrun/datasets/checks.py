"""What pixels and labels must be: checked, and converted where that loses nothing."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustrun.errors import DataError, listed

AT_ONCE = 1000  # images that are looked at together
NEARLY_ONE = 1.001
SHOWN = 5  # classes that a message lists
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def checked_pair(batch: Any, place: str) -> tuple[Tensor, Tensor]:
    """A batch's images and labels, as tensors."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(f"{place} is a {kind(batch)}, but must be a pair (images, labels).")
    x, y = (_tensor(part) for part in batch)
    for part, name in ((x, "images"), (y, "labels")):
        if not isinstance(part, Tensor):
            raise DataError(f"{place}: the {name} are a {kind(part)}, but must be a tensor.")
    return x, y


def _tensor(part: Any) -> Any:
    """An array as a tensor, if it can be one."""
    is_numeric = isinstance(part, np.ndarray) and part.dtype.kind in "biuf"
    return torch.tensor(part) if is_numeric else part


def checked_pixels(pixels: Tensor, place: str) -> Tensor:
    """The pixels N x C x H x W, float32 in [0, 1] or uint8."""
    pixels = pixels.detach()
    _require_layout(pixels, place)
    if pixels.dtype == torch.uint8:
        if int(pixels.max()) == 1:
            raise DataError(
                f"{place}: the pixels are uint8, which counts as 0 to 255, but the largest is 1. "
                f"If they are 0 or 1, give them as floats: x.float()."
            )
        return pixels
    if pixels.dtype not in FLOATS:
        raise DataError(
            f"{place}: the pixels are {_name(pixels.dtype)}, but must be floats in [0, 1], or "
            f"uint8 from 0 to 255."
        )
    for first in range(0, len(pixels), AT_ONCE):
        _require_range(pixels[first : first + AT_ONCE], pixels, first, place)
    return pixels.float()


def _require_layout(pixels: Tensor, place: str) -> None:
    shape = tuple(pixels.shape)
    hint = ""
    if len(shape) == 4 and shape[3] == 3 and shape[1] == shape[2] > 4:
        hint = " The channels seem to come last: x.permute(0, 3, 1, 2)."
    elif len(shape) == 3:
        hint = " For grey images, add the channel: x[:, None]."
    elif len(shape) == 4 and 0 not in shape:
        return
    raise DataError(
        f"{place} have shape {size(shape)}, but must be N x C x H x W: number, channels, height, "
        f"width.{hint}"
    )


def _require_range(part: Tensor, pixels: Tensor, first: int, place: str) -> None:
    """DataError, with the range of all `pixels`, unless those of `part` are in [0, 1]."""
    least, most = (float(value) for value in part.aminmax())
    if least >= 0 and most <= 1:  # false for NaN
        return
    inside = (part >= 0) & (part <= 1)
    wrong = int((~inside).flatten(1).any(dim=1).nonzero()[0])
    value = float(part[wrong][~inside[wrong]][0])
    finite = pixels[pixels.isfinite()].double()
    least, most = (finite.min().item(), finite.max().item()) if len(finite) else (0.0, 0.0)
    raise DataError(
        f"{place}: image {first + wrong} has a pixel of {value:g}, but pixels must be in [0, 1]; "
        f"here they go from {least:g} to {most:g}. {_advice(value, least, most)}"
    )


def _advice(value: float, least: float, most: float) -> str:
    """What brings pixels from `least` to `most`, of which `value` is one, to [0, 1]."""
    if not math.isfinite(value):
        return "Leave such images out, or correct what made them."
    if least < 0:
        scale = "(x + 1) / 2 undoes that. " if least >= -1 and most <= 1 else ""
        return f"Do not normalise them: {scale}The network does, as its first layer."
    if most <= NEARLY_ONE:
        return "That is rounding: x.clamp(0, 1)."
    return "Divide by 255, or give them as uint8, if they are 0 to 255."


def checked_labels(labels: Any, count: int, place: str) -> Tensor:
    """The labels as int64 of shape N on the CPU, whatever their bound."""
    if not isinstance(labels, Tensor):
        raise DataError(f"{place}: the labels are a {kind(labels)}, but must be a tensor.")
    if labels.is_floating_point() or labels.is_complex():
        raise DataError(
            f"{place}: the labels are {_name(labels.dtype)}, but must be whole numbers: int64."
        )
    if labels.shape != (count,):
        one_hot = " If they are one-hot, y.argmax(1) gives them." if labels.ndim == 2 else ""
        raise DataError(
            f"{place}: the labels have shape {size(labels.shape)}, but there are {count} images: "
            f"one number each is due.{one_hot}"
        )
    return labels.detach().cpu().long()


def require_labels(labels: Tensor, classes: int, place: str, counted: str) -> None:
    """DataError unless all labels are in 0 .. classes - 1; `counted` are what `classes` counts."""
    if classes < 2:
        raise DataError(f"{place}: at least 2 classes are needed; {counted}: {classes}.")
    wrong = ((labels < 0) | (labels >= classes)).nonzero()[:, 0]
    if len(wrong) == 0:
        return
    value, first = int(labels[wrong[0]]), int(wrong[0])
    hint = ""
    if int(labels.min()) == 1 and int(labels.max()) == classes:
        hint = " They seem to begin at 1: subtract 1."
    elif value == -1:
        hint = " Some data sets mark images without a label so: leave these out."
    raise DataError(
        f"{place}: image {first} has label {value} (one of {len(wrong)}), but with {classes} "
        f"{counted} labels are whole numbers from 0 to {classes - 1}.{hint}"
    )


def require_learnt(
    labels: Sequence[Tensor], class_names: Sequence[str], train: str, test: str
) -> None:
    """DataError for a class that the second part (which messages call `test`) has and the first
    (`train`) lacks: it cannot be learnt."""
    trained, tested = (set(part.tolist()) for part in labels)
    new = sorted((tested - trained) & set(range(len(class_names))))
    if unknown := [class_names[label] for label in new]:
        raise DataError(
            f"{test} has images of {listed(map(repr, unknown), SHOWN)}, of which {train} has none."
        )


def kind(value: Any) -> str:
    return type(value).__name__


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "of one number"
