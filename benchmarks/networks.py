"""The benchmark's own data and networks: briefly trained adversarially, then kept in a cache."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.io import ImageReadMode, decode_image

from benchmarks.settings import Settings
from robustrun.configuration import composition
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.datasets.augmentation import Augment, as_floats
from robustrun.datasets.tensors import TensorImages
from robustrun.models.normalize import Normalize
from robustrun.training.fit import fit
from robustrun.training.settings import TrainingPlan
from robustrun.types import Runtime

WIDTHS = ((32, 1), (32, 2), (64, 1), (64, 2), (128, 1), (128, 2))  # channels and stride


@dataclass(frozen=True)
class Data:
    """Images to train on and to measure, and what they are called."""

    name: str
    train: TensorImages
    test: TensorImages
    epsilon: float
    classes: int = 10

    def measured(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        x = as_floats(self.test.pixels[:count]).to(device)
        return x, self.test.labels[:count].to(device)


def load_data(settings: Settings) -> Data:
    """CIFAR-10 (JPEG) if it is there, else the embedded digits."""
    sizes = settings.sizes
    wanted = max(sizes.train_images, sizes.deep_train_images, sizes.pipeline_images)
    if (settings.data / "train").is_dir():
        train, test = (_folder(settings, part, n) for part, n in (("train", wanted), ("test", 0)))
        augmented = TensorImages(*train, Augment(crop_padding=4, flip=True))
        return Data("CIFAR-10 (JPEG)", augmented, TensorImages(*test), 8 / 255)
    splits = plain_config([]).dataset.load()
    assert isinstance(splits.train, TensorImages)
    assert isinstance(splits.test, TensorImages)
    return Data("digits", splits.train, splits.test, 0.1)


def _folder(settings: Settings, part: str, wanted: int) -> tuple[Tensor, Tensor]:
    """The first images of each class, in an order drawn from the seed."""
    sizes = settings.sizes
    wanted = wanted or max(sizes.images, sizes.deep_images, sizes.autoattack_images)
    kept = settings.cache / f"{part}-{wanted}-{settings.seed}.safetensors"
    if not kept.exists():
        folders = sorted(f for f in (settings.data / part).iterdir() if f.is_dir())
        each = -(-wanted // len(folders))
        files = [(p, n) for n, f in enumerate(folders) for p in sorted(f.glob("*.jpg"))[:each]]
        order = torch.randperm(len(files), generator=torch.Generator().manual_seed(settings.seed))
        chosen = [files[i] for i in order.tolist()]
        pixels = torch.stack([decode_image(str(p), ImageReadMode.RGB) for p, _ in chosen])
        labels = torch.tensor([n for _, n in chosen])
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file({"pixels": pixels, "labels": labels}, kept)
    tensors = load_file(kept)
    return tensors["pixels"], tensors["labels"]


def plain_config(overrides: list[str]) -> RunConfig:
    return _composed(tuple(overrides))


@cache  # half a second each
def _composed(overrides: tuple[str, ...]) -> RunConfig:
    return load_config(composition.compose_config(list(overrides)))


def small_network(channels: int, classes: int, widen: float = 1.0) -> nn.Sequential:
    """Six 3 x 3 convolutions, each with batch norm and ReLU, an average and a linear layer."""
    layers: list[nn.Module] = [Normalize((0.5,), (0.25,), channels)]
    for width, stride in ((int(width * widen), stride) for width, stride in WIDTHS):
        convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


def untrained(name: str, data: Data, seed: int) -> nn.Module:
    """`BN CNN` or `PreAct ResNet-18`, with the first weights that the seed gives."""
    torch.manual_seed(seed)
    if name == "BN CNN":
        return small_network(data.train.shape[0], data.classes)
    return plain_config(["model=preact_resnet18"]).model.build(data.train.shape, data.classes)


def trained(name: str, data: Data, settings: Settings) -> nn.Module:
    """The network after a little PGD-AT (3 inner steps), in eval mode, on the device."""
    sizes = settings.sizes
    deep = name != "BN CNN"
    images = min(sizes.deep_train_images if deep else sizes.train_images, len(data.train))
    epochs = sizes.deep_epochs if deep else sizes.epochs
    model = untrained(name, data, settings.seed)
    told = repr(("pgd_at", name, data.name, images, epochs, settings.seed, settings.device.type))
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    kept = settings.cache / f"{name.replace(' ', '-')}-{digest}.safetensors"
    if kept.exists():
        model.load_state_dict(load_file(kept))
    else:
        _train(model, data, images, epochs, settings)
        _keep(kept, model)
    return model.eval().to(settings.device)


def _keep(path: Path, model: nn.Module) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, path)


def _train(model: nn.Module, data: Data, images: int, epochs: int, settings: Settings) -> None:
    words = ["method=pgd_at", f"attack.epsilon={data.epsilon}", f"training.epochs={epochs}"]
    words += ["method.inner.steps=3", f"method.inner.step_size={data.epsilon / 2}"]
    words += ["schedule=onecycle", "method.clean_pass=false"]
    words += [f"training.batch_size={min(128, images)}", "training.validation_fraction=0"]
    words += ["optimizer.lr=0.05", "training.validation_every=1000"]
    cfg = plain_config(words)
    runtime = runtime_for(settings, "auto", work=1e12)
    model.to(settings.device).to(memory_format=runtime.memory_format)
    fit(
        model,
        cfg.method,
        data.train.subset(torch.arange(images)).to(settings.device),
        None,
        torch.bincount(data.train.labels, minlength=data.classes),
        TrainingPlan(cfg.training, cfg.optimizer, cfg.schedule, runtime, settings.seed),
        lambda history: None,
    )


def runtime_for(settings: Settings, precision: str, work: float) -> Runtime:
    """What `device=cpu` or `device=cuda` decides for this precision."""
    words = [f"device={settings.device.type}", f"device.threads={settings.threads}"]
    device: Any = plain_config([*words, f"device.precision={precision}"]).device
    runtime: Runtime = device.prepare(work)
    return runtime
