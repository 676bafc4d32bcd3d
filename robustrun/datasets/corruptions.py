"""CIFAR-10-C, CIFAR-100-C and CIFAR-10-P in their official arrays (Hendrycks & Dietterich 2019,
https://arxiv.org/abs/1903.12261): the test images under common corruptions and perturbations.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from robustrun.compute.predictions import NO_ANSWER
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError, did_you_mean
from robustrun.types import Images

# The benchmark's fifteen, over which its mean is taken, and the four meant for tuning.
CORRUPTIONS = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
EXTRA_CORRUPTIONS = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
SEVERITIES = (1, 2, 3, 4, 5)
# AlexNet's error on ImageNet-C, mean over severities, by which the benchmark divides; as
# https://github.com/hendrycks/robustness has it.
ALEXNET_ERRORS = dict(
    zip(
        CORRUPTIONS,
        (
            *(0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360, 0.866816),
            *(0.826572, 0.819324, 0.564592, 0.853204, 0.646056, 0.717840, 0.606500),
        ),
        strict=True,
    )
)
# The ten over which the mean flip rate is taken, and the four meant for tuning.
PERTURBATIONS = (
    *("gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "spatter"),
    *("brightness", "translate", "rotate", "tilt", "scale"),
)
EXTRA_PERTURBATIONS = ("speckle_noise", "gaussian_blur", "snow", "shear")
PIXELS = (32, 32, 3)  # height, width, channels


class CorruptedImages(NamedTuple):
    """The test images under one corruption at one severity."""

    corruption: str
    severity: int  # 1, the mildest, to 5
    images: Images


class PerturbationSequences(NamedTuple):
    """Short sequences of frames: each begins with a test image, which is perturbed more and more,
    or (noise) from the start for each frame."""

    perturbation: str
    images: TensorImages  # all frames of the first, then all of the second …
    frames: int  # of each sequence


def corrupted(
    root: str,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    examples: int | None = None,
) -> Iterator[CorruptedImages]:
    """The images of CIFAR-10-C below `root`, by corruption, then severity; DataError names what is
    wrong, before the first image is read. `examples`: only the first so many of each severity."""
    folder = _folder(root, "CIFAR-10-C")
    check_names(corruptions)
    check_severities(severities)
    labels = _labels(folder / "labels.npy")
    for name in corruptions:
        _pixels(folder / f"{name}.npy", (len(labels), *PIXELS))
    return _each(folder, labels, corruptions, severities, examples)


def _each(
    folder: Path,
    labels: np.ndarray,
    corruptions: Sequence[str],
    severities: Sequence[int],
    examples: int | None,
) -> Iterator[CorruptedImages]:
    count = len(labels) // len(SEVERITIES)
    for name in corruptions:
        pixels = _pixels(folder / f"{name}.npy", (len(labels), *PIXELS))
        for severity in severities:
            first = (severity - 1) * count
            part = slice(first, first + (count if examples is None else min(examples, count)))
            yield CorruptedImages(name, severity, _images(pixels[part], labels[part]))


def mean_corruption_error(accuracies: Mapping[str, float]) -> float | None:
    """mCE on ImageNet-C: the error of each corruption, over its five severities, as a share of
    AlexNet's; then the mean over the fifteen. None if one of them is not there."""
    if not set(CORRUPTIONS) <= set(accuracies):
        return None
    shares = [(1 - accuracies[name]) / ALEXNET_ERRORS[name] for name in CORRUPTIONS]
    return sum(shares) / len(shares)


def perturbed(
    root: str,
    labels: torch.Tensor,
    perturbations: Sequence[str] = PERTURBATIONS,
    examples: int | None = None,
) -> Iterator[PerturbationSequences]:
    """The sequences of CIFAR-10-P below `root`; DataError names what is wrong, before any is read.

    `labels` are those of the CIFAR-10 test set, in order: its files hold none.
    """
    folder = _folder(root, "CIFAR-10-P")
    _check_names(perturbations, PERTURBATIONS + EXTRA_PERTURBATIONS, "perturbation")
    shape = (len(labels), None, *PIXELS)
    for name in perturbations:
        _pixels(folder / f"{name}.npy", shape)
    return _sequences(folder, shape, labels.numpy(), perturbations, examples)


def _sequences(
    folder: Path,
    shape: tuple[int | None, ...],
    labels: np.ndarray,
    perturbations: Sequence[str],
    examples: int | None,
) -> Iterator[PerturbationSequences]:
    for name in perturbations:
        sequences = _pixels(folder / f"{name}.npy", shape)[:examples]
        frames = sequences.shape[1]
        every = labels[:examples].repeat(frames)
        yield PerturbationSequences(name, _images(sequences.reshape(-1, *PIXELS), every), frames)


def flip_rate(predictions: np.ndarray, frames: int, perturbation: str) -> float:
    """How often the prediction changes from one frame to the next: the flip probability.

    Noise is drawn for each frame alone, so there each frame is compared with the first. A frame
    without an answer (logits that are not finite) is the same as no other.
    """
    sequences = predictions.reshape(-1, frames)
    before = sequences[:, :1] if perturbation.endswith("noise") else sequences[:, :-1]
    return float(((sequences[:, 1:] != before) | (before == NO_ANSWER)).mean())


def _images(pixels: np.ndarray, labels: np.ndarray) -> TensorImages:
    stored = torch.from_numpy(np.array(pixels))  # a copy: the file is only mapped
    return TensorImages(
        stored.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels.astype(np.int64))
    )


def _folder(root: str, name: str) -> Path:
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder. It must hold the unpacked files of {name} "
            f"(https://github.com/hendrycks/robustness), one NAME.npy for each corruption."
        )
    return folder


def check_names(corruptions: Sequence[str]) -> None:
    """DataError, with near ones, for a name that is no corruption's."""
    _check_names(corruptions, CORRUPTIONS + EXTRA_CORRUPTIONS, "corruption")


def check_severities(severities: Sequence[int]) -> None:
    for severity in severities:
        if severity not in SEVERITIES:
            raise DataError(f"The severity is {severity!r}, but must be one of 1, 2, 3, 4, 5.")


def _check_names(chosen: Sequence[str], known: Sequence[str], kind: str) -> None:
    for name in chosen:
        if name not in known:
            raise DataError(f"{name!r} is not a {kind}.{did_you_mean(name, known)}")


def _labels(path: Path) -> np.ndarray:
    labels = _load(path)
    whole = labels.dtype.kind in "ui" and labels.ndim == 1
    if not whole or len(labels) == 0 or len(labels) % len(SEVERITIES) != 0:
        raise DataError(
            f"{path} holds {labels.dtype} of shape {labels.shape}, but must hold whole numbers, "
            f"one for each image of the five severities (officially 50,000)."
        )
    parts = np.array(labels).reshape(len(SEVERITIES), -1)
    if (parts != parts[0]).any():
        raise DataError(f"{path} is not CIFAR-10-C's: each severity must have the same labels.")
    return parts.reshape(-1)


def _pixels(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    """The mapped file, once its type and shape are as they should be (None: any length)."""
    pixels = _load(path)
    fits = pixels.ndim == len(shape) and all(
        want in (None, has) for want, has in zip(shape, pixels.shape, strict=True)
    )
    if pixels.dtype != np.uint8 or not fits:
        wanted = " x ".join("frames" if want is None else str(want) for want in shape)
        raise DataError(
            f"{path} holds {pixels.dtype} of shape {pixels.shape}, but must hold uint8 of shape "
            f"{wanted}."
        )
    return pixels


def _load(path: Path) -> np.ndarray:
    """The file, mapped, not read; never unpickled."""
    if not path.is_file():
        raise DataError(f"{path} is missing. Unpack the official archive there.")
    try:
        loaded: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read as a NumPy array ({error}). It may be incomplete: unpack the "
            f"official archive again."
        ) from error
    return loaded
