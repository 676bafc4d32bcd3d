"""Images that stay on disk and are decoded batch by batch."""

import hashlib
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from robustrun.compute.batch_parts import Part, all_of, to_read
from robustrun.compute.threads import free_cores
from robustrun.datasets.augmentation import Augment, as_floats
from robustrun.datasets.contents import content_digests
from robustrun.datasets.image_reader import ImageReader, Pixels
from robustrun.errors import DataError, RunFailure, shown
from robustrun.types import Shape

log = logging.getLogger(__name__)
MOST_WORKERS = 8  # more seldom help, and each takes memory
WORKER_PAYS_FROM = 200  # images for each: 0.1 to 0.4 s of decoding, where it takes 0.1 s to start


@dataclass(frozen=True, eq=False)
class FileImages:
    """A data set read from disk while it is used, by `workers` processes (0: by this one).

    The batches are the same for any number of workers.
    """

    root: Path
    names: np.ndarray  # paths below root, as bytes: one array, which workers share, not copy
    labels: Tensor
    reader: ImageReader
    workers: int | None  # None: as many as pay
    augment: Augment | None = None
    warned: set[str] = field(default_factory=set)  # files that were warned of already; parts share

    @property
    def shape(self) -> Shape:
        return self.reader.shape

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "FileImages":
        at = indices.cpu()
        return replace(self, names=self.names[at.numpy()], labels=self.labels[at])

    def plain(self) -> "FileImages":
        return replace(self, augment=None, reader=replace(self.reader, random_crop=False))

    def to(self, device: torch.device) -> "FileImages":
        return self

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        device: torch.device | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        device = device or torch.device("cpu")
        order = torch.arange(len(self)) if order is None else order.cpu()
        labels = self.labels[order].to(device)
        first = skip * batch_size
        on_gpu = device.type == "cuda"
        for batch in self.read(batch_size, order, skip, pin=on_gpu, part_of=to_read):
            part = to_read(len(order[first : first + batch_size]))
            self.tell_frames(part.of(order[first:]), batch.has_more_frames)
            pixels = part.in_whole(batch.pixels.to(device, non_blocking=True))
            if self.augment is not None:
                pixels = self.augment(pixels)
            yield as_floats(pixels), labels[first : first + len(pixels)]
            first += len(pixels)

    def read(
        self,
        batch_size: int,
        order: Tensor,
        skip: int = 0,
        pin: bool = False,
        part_of: Callable[[int], Part] = all_of,
    ) -> Iterator[Pixels]:
        """The images as they are in the files, before augmentation, in batches; of each the part
        that `part_of` says."""
        # Seeds are drawn here, one an image, so that it does not matter which worker reads it.
        seeds = torch.zeros_like(order)
        if self.reader.random_crop:
            seeds.random_(generator=torch.Generator().manual_seed(zlib.crc32(order.numpy().data)))
        whole = torch.split(torch.stack([order, seeds], dim=1), batch_size)[skip:]
        if len(order) == 0 or not whole:
            return
        jobs = [part_of(len(job)).of(job) for job in whole]
        loader: DataLoader[Any] = DataLoader(
            _Batches(self),  # type: ignore[arg-type]
            batch_size=None,  # an item is a whole batch
            sampler=jobs,
            num_workers=worker_count(self.workers, jobs),
            pin_memory=pin,
            generator=torch.Generator(),  # its own, or it would draw from the global one
        )
        try:
            for batch in loader:
                if isinstance(batch, DataError):
                    raise batch
                yield batch
        except (RuntimeError, EOFError, ConnectionError) as error:
            raise RunFailure(
                f"A worker process that reads images below {self.root} ended too early, killed or "
                f"out of memory ({error}). Fewer dataset.workers need less memory."
            ) from error

    def tell_frames(self, order: Tensor, has_more_frames: Tensor) -> None:
        """Say once, with the first file's name, that of several frames only the first is used."""
        if self.warned or not has_more_frames.any():
            return
        first = shown(self.path(int(order[has_more_frames.int().argmax()])))
        self.warned.add(first)
        log.warning("only the first frame is used of images that have several: %s", first)

    def path(self, index: int) -> Path:
        return self.root / os.fsdecode(self.names[index])

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"({self.reader.identity()}, {len(self)})".encode())
        digest.update(self.labels.contiguous().numpy().data)
        names: list[bytes] = self.names.tolist()
        for name, content in zip(names, content_digests(self.root, names), strict=True):
            digest.update(b"%d %b %b" % (len(name), name, content))
        return digest.hexdigest()


def worker_count(wanted: int | None, jobs: list[Tensor]) -> int:
    """How many processes read these batches: as many as wanted; null: one a core, within reason,
    but none for so few images that this process has read them before others have started."""
    most = min(free_cores(), MOST_WORKERS, sum(map(len, jobs)) // WORKER_PAYS_FROM)
    return min(most if wanted is None else wanted, len(jobs))


@dataclass(frozen=True)
class _Batches:
    """What a DataLoader's workers do: (index, seed) pairs to the pixels of a batch."""

    images: FileImages

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, pairs: Tensor) -> Pixels | DataError:
        try:
            read = self.images.reader
            images = [read(self.images.path(i), seed) for i, seed in pairs.tolist()]
            return Pixels(*(torch.stack(part) for part in zip(*images, strict=True)))
        except DataError as error:
            return error  # returned, not raised: a DataLoader would wrap it in a traceback
