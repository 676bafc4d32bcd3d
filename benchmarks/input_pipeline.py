"""An epoch's batches, cropped and flipped at random: tensors on the device, and a DataLoader."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.networks import Data
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare
from robustrun.datasets.augmentation import Augment

WORKERS = (0, 2)


class Pictures(Dataset[Any]):
    """uint8 images in memory, one at a time, as torchvision's CIFAR-10 hands them out."""

    def __init__(self, data: Data, count: int) -> None:
        self.pixels = data.train.pixels[:count].permute(0, 2, 3, 1).numpy()
        self.labels = data.train.labels[:count].tolist()
        side = self.pixels.shape[1]
        to_picture = transforms.ToPILImage()
        crop = transforms.RandomCrop(side, padding=4)
        flip = transforms.RandomHorizontalFlip()
        self.transform = transforms.Compose([to_picture, crop, flip, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.pixels[index]), self.labels[index]


def rows(
    data: Data, settings: Settings, found: dict[str, str], workers: tuple[int, ...] = WORKERS
) -> list[Row]:
    count = min(settings.sizes.pipeline_images, len(data.train))
    contestants = [
        Contestant(f"DataLoader, {n} workers", _loader(data, count, n, settings)) for n in workers
    ]
    contestants.append(Contestant("robustrun", _ours(data, count, settings), ours=True))
    return compare(
        "input pipeline",
        "-",
        contestants,
        rounds=settings.sizes.rounds,
        items=count,
        meaning="mean pixel",
        device=settings.device,
        goal="10x a DataLoader with 2 workers",
    )


def _loader(data: Data, count: int, workers: int, settings: Settings) -> Callable[[], float]:
    pictures, cuda = Pictures(data, count), settings.device.type == "cuda"
    loader = DataLoader(
        pictures,
        settings.sizes.step_batch,
        shuffle=True,
        num_workers=workers,
        pin_memory=cuda,
        persistent_workers=workers > 0,
    )

    def run() -> float:
        total = torch.zeros((), device=settings.device)
        for x, _ in loader:
            total += x.to(settings.device, non_blocking=True).mean() * len(x)
        return float(total) / count

    return run


def _ours(data: Data, count: int, settings: Settings) -> Callable[[], float]:
    images = data.train.subset(torch.arange(count)).to(settings.device)
    images = replace(images, augment=Augment(crop_padding=4, flip=True))

    def run() -> float:
        total = torch.zeros((), device=settings.device)
        order = torch.randperm(count)
        for x, _ in images.batches(settings.sizes.step_batch, order, settings.device):
            total += x.mean() * len(x)
        return float(total) / count

    return run
