"""Batches of a training: every image once, and none alone where batch norm needs two."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from robustrun.attacks.fgsm import FGSM
from robustrun.datasets.files import FileImages
from robustrun.datasets.image_reader import ImageReader
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import ConfigError
from robustrun.training.batching import Batching, batching, norm_of_one
from robustrun.training.fit import fit
from robustrun.training.optimizers import SGD
from robustrun.training.schedules import Constant
from robustrun.training.settings import Training, TrainingPlan
from robustrun.training.state import TrainingResult
from robustrun.types import Runtime

CPU = torch.device("cpu")
RUNTIME = Runtime(CPU, "test", 1, 1, "float32", False, torch.contiguous_format)
SHAPE = (1, 4, 4)


def images(count: int) -> TensorImages:
    """Each pixel of an image is a hundredth of its number."""
    pixels = (torch.arange(count) / 100).view(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous()
    return TensorImages(pixels, torch.arange(count) % 2)


def numbers(x: Tensor) -> list[int]:
    return (x[:, 0, 0, 0] * 100).round().int().tolist()


def flat_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 2))


def no_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


def convolutions(norm: nn.Module, pool: nn.Module | None = None) -> nn.Module:
    between = [pool] if pool else []
    return nn.Sequential(nn.Conv2d(1, 4, 3), *between, norm, nn.Flatten(), nn.LazyLinear(2))


# --- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [
        (9, 4, [4, 5]),
        (5, 4, [5]),
        (3, 2, [3]),
        (7, 3, [3, 4]),
        (10, 4, [4, 4, 2]),
        (8, 4, [4, 4]),
        (4, 4, [4]),
        (2, 2, [2]),
    ],
)
def test_an_image_that_is_left_alone_joins_the_batch_before(
    count: int, size: int, sizes: list[int]
) -> None:
    batches = batching(flat_norm(), count, SHAPE, size)
    order = torch.randperm(count)
    every = [numbers(x) for x, _ in batches.of(images(count), order, CPU)]
    assert [len(batch) for batch in every] == sizes
    assert [number for batch in every for number in batch] == order.tolist()
    assert batches.count(count) == len(sizes)
    for skip in range(len(sizes) + 1):
        rest = [numbers(x) for x, _ in batches.of(images(count), order, CPU, skip)]
        assert rest == every[skip:]


@pytest.mark.parametrize("size", [2, 4, 5])
def test_where_no_batch_norm_is_hit_batches_are_as_they_were(size: int) -> None:
    order = torch.randperm(9)
    batches = batching(no_norm(), 9, SHAPE, size)
    assert batches == Batching(size)
    ours = [numbers(x) for x, _ in batches.of(images(9), order, CPU)]
    assert ours == [numbers(x) for x, _ in images(9).batches(size, order)]
    assert batches.count(9) == len(ours)


def test_random_crops_of_files_are_the_same_after_a_resumption(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(9):
        levels = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(levels).save(tmp_path / f"{number}.png")
    names = np.array([f"{number}.png".encode() for number in range(9)])
    reader = ImageReader((3, 6, 6), 8, to_grey=False, background=None, random_crop=True)
    files = FileImages(tmp_path, names, torch.arange(9) % 2, reader, workers=0)
    batches, order = Batching(4, merged=True), torch.randperm(9)
    every = list(batches.of(files, order, CPU))
    for skip in (1, 2):
        rest = list(batches.of(files, order, CPU, skip))
        assert len(rest) == 2 - skip
        for (x, y), (u, v) in zip(rest, every[skip:], strict=True):
            assert torch.equal(x, u)
            assert torch.equal(y, v)


# --- which networks ----------------------------------------------------------------------------


class Frozen(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> "Frozen":
        return super().train(False)


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (lambda: flat_norm(), "1"),
        (lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16, track_running_stats=False)), "1"),
        (lambda: convolutions(nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1)), "2"),
        (lambda: nn.Sequential(nn.BatchNorm2d(1), flat_norm()), "1.1"),
        (lambda: convolutions(nn.BatchNorm2d(4)), None),
        (lambda: convolutions(nn.GroupNorm(2, 4), nn.AdaptiveAvgPool2d(1)), None),
        (lambda: nn.Sequential(nn.Flatten(), Frozen(16)), None),
        (lambda: no_norm(), None),
    ],
)
def test_the_layer_that_cannot_take_one_image_is_named(model: Any, layer: str | None) -> None:
    network = model()
    network(torch.rand(2, *SHAPE))  # gives lazy layers their size
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    assert norm_of_one(network, SHAPE) == layer
    assert all(module.training for module in network.modules() if not isinstance(module, Frozen))
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    if layer is None:
        network(torch.rand(1, *SHAPE))
    else:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            network(torch.rand(1, *SHAPE))


@pytest.mark.parametrize(
    ("count", "size", "message"),
    [
        (9, 1, r"^training\.batch_size is 1, but batch norm \(1, .*choose 2 or more"),
        (1, 1, r"^training: there is a single training image, but batch norm \(1, "),
    ],
)
def test_batches_that_would_all_be_one_image_are_refused(
    count: int, size: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        trained(flat_norm(), count, size)


# --- training ----------------------------------------------------------------------------------


class Recorder:
    """Trains by cross-entropy, and notes sizes and progress."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.progress: list[float] = []

    def step(self, learner: Any, x: Tensor, y: Tensor) -> Tensor:
        self.sizes.append(len(x))
        self.progress.append(learner.progress)
        loss = F.cross_entropy(learner.model(x), y)
        learner.update(loss)
        return loss


def trained(model: nn.Module, count: int, size: int) -> tuple[TrainingResult, Recorder]:
    settings = Training(
        epochs=2,
        seconds=None,
        batch_size=size,
        freeze=(),
        validation_fraction=0.0,
        validation_every=1,
        select="last",
        warmup=0.0,
        gradient_clip=None,
        label_smoothing=0.0,
        weight_perturbation=0.0,
        weight_perturbation_warmup=0.0,
        ema_decay=0.5,
        ema_buffers="recompute",  # one more pass in training mode
        ema_warmup=True,
        ema_start=0.0,
        on_nonfinite="stop",
        on_collapse="warn",
        checkpoint_minutes=10.0,
        checkpoint_steps=None,
        validation_attack=FGSM("linf", 0.0),
    )
    how = TrainingPlan(settings, SGD(0.1, 0.9, False, 0.0), Constant(), RUNTIME, 3)
    method, data = Recorder(), images(count)
    counts = torch.bincount(data.labels, minlength=2)
    return fit(model, method, data, None, counts, how, lambda history: None), method


def test_steps_progress_and_images_are_counted_as_they_are() -> None:
    fitted, method = trained(flat_norm(), 9, 4)
    assert method.sizes == [4, 5, 4, 5]
    assert method.progress == [0.0, 0.25, 0.5, 0.75]
    assert (fitted.steps, fitted.images) == (4, 18)
    assert [row.step for row in fitted.history] == [2, 4]


@pytest.mark.parametrize(("count", "sizes"), [(3, [1, 1, 1] * 2), (1, [1, 1])])
def test_single_images_train_a_network_without_batch_norm(count: int, sizes: list[int]) -> None:
    _, method = trained(no_norm(), count, 1)
    assert method.sizes == sizes
