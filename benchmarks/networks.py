"""The benchmark's own data and networks: briefly trained adversarially, then kept in a cache."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.io import ImageReadMode, decode_image

from benchmarks.settings import Settings
from robustrun.configuration import composition
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.datasets.augmentation import Augment, as_floats
from robustrun.datasets.tensors import TensorImages
from robustrun.devices.local import has_bfloat16_units
from robustrun.evaluation.setting import Setting
from robustrun.models.normalize import Normalize
from robustrun.training.fit import fit
from robustrun.training.settings import TrainingPlan
from robustrun.types import Runtime, Shape

PRECISIONS = ("float32", "auto")  # of the search
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


def small_network(
    channels: int,
    classes: int,
    widen: float = 1.0,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Sequential:
    """Six 3 x 3 convolutions, each with a norm and ReLU, an average and a linear layer."""
    layers: list[nn.Module] = [Normalize((0.5,), (0.25,), channels)]
    for width, stride in ((int(width * widen), stride) for width, stride in WIDTHS):
        convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        layers += [convolution, norm(width), nn.ReLU()]
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


class Transformer(nn.Module):
    """A small ViT without class token: patches of 4 x 4, and the average over them."""

    def __init__(self, shape: Shape, classes: int, width: int = 128, depth: int = 4) -> None:
        super().__init__()
        channels, height, columns = shape
        self.normalize = Normalize((0.5,), (0.25,), channels)
        self.patches = nn.Conv2d(channels, width, 4, stride=4)
        self.place = nn.Parameter(torch.randn(1, (height // 4) * (columns // 4), width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads=4) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(self.normalize(x)).flatten(2).transpose(1, 2) + self.place
        logits: Tensor = self.head(self.blocks(tokens).mean(dim=1))
        return logits


class Block(nn.Module):
    """Attention, and two layers for each token."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_attention, self.from_attention = (
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )
        self.layers = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, width = x.shape
        parts = self.to_attention(self.before(x)).view(count, tokens, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(count, tokens, width)
        x = x + self.from_attention(seen)
        done: Tensor = x + self.layers(self.between(x))
        return done


def names(settings: Settings) -> tuple[str, ...]:
    """The networks that PGD evaluations and training steps are measured on."""
    return settings.networks or (("BN CNN", DEEP) if settings.deep else ("BN CNN",))


def untrained(name: str, data: Data, seed: int) -> nn.Module:
    """One of NETWORKS, with the first weights that the seed gives."""
    torch.manual_seed(seed)
    return NETWORKS[name](data.train.shape, data.classes)


def _of_the_catalogue(*words: str) -> Callable[[Shape, int], nn.Module]:
    return lambda shape, classes: plain_config(list(words)).model.build(shape, classes)


DEEP = "PreAct ResNet-18"
NETWORKS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "BN CNN": lambda shape, classes: small_network(shape[0], classes),
    DEEP: _of_the_catalogue("model=preact_resnet18"),
    "ResNet-18": _of_the_catalogue("model=resnet18"),
    "WRN-28-10": _of_the_catalogue("model=wide_resnet28_10"),
    "GroupNorm CNN": lambda shape, classes: small_network(
        shape[0], classes, norm=partial(nn.GroupNorm, 8)
    ),
    "ViT": Transformer,
    "WRN-10-2": _of_the_catalogue("model=wide_resnet", "model.depth=10", "model.widen_factor=2"),
}


def trained(name: str, data: Data, settings: Settings) -> nn.Module:
    """The network after a little PGD-AT (3 inner steps), in eval mode, on the device."""
    sizes = settings.sizes
    deep = name == DEEP
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


def tuned(model: nn.Module) -> nn.Module:
    """The network as it suits other libraries best: channels last where convolutions gain by that,
    and no gradients of weights, which an attack has no use for."""
    return model.to(memory_format=torch.channels_last).requires_grad_(False)


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


def training_precisions(settings: Settings) -> tuple[str, ...]:
    """float32 and bfloat16; a first impression leaves bfloat16 out where it is the slower one."""
    both = "float32", "bfloat16"
    return both if not settings.quick or has_bfloat16_units(settings.device.type) else both[:1]


def called(precision: str, runtime: Runtime) -> str:
    """The name of a contestant of ours; for `auto`, with what it takes here."""
    return f"robustrun {precision}" + (f": {runtime.precision}" if precision == "auto" else "")


def setting_for(settings: Settings, runtime: Runtime, batch: int) -> Setting:
    """What `robustrun evaluate` would set for this device."""
    how = (runtime.precision, runtime.search_copy)
    return Setting(settings.seed, batch, settings.device, *how)


def runtime_for(settings: Settings, precision: str, work: float) -> Runtime:
    """What `device=cpu` or `device=cuda` decides for this precision."""
    words = [f"device={settings.device.type}", f"device.threads={settings.threads}"]
    device: Any = plain_config([*words, f"device.precision={precision}"]).device
    runtime: Runtime = device.prepare(work)
    return runtime
