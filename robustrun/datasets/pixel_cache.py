"""Pixels of decoded files, kept in the user's cache folder by the files' content.

Below `decoded`, each way of reading has a folder, in which each file holds what one run decoded:
a table with a key, a checksum and a mark for every image, and then the pixels in the same order.
Nothing in it is believed without its checksum.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import features
from torch import Tensor

from robustrun.datasets.image_reader import ImageReader
from robustrun.storage.cache import cache_folder, keep

log = logging.getLogger(__name__)
MAGIC = b"robustrun pixels 1\n"
MOST_BYTES = 10 * 10**9  # of all that is kept; what was not used for longest goes first
ENDING = ".pixels"
KEY, CHECK, COUNT = 32, 16, 8  # bytes: SHA-256 of a file, checksum of its pixels, number of images
ROW = KEY + CHECK + 1
HEAD = len(MAGIC) + KEY + COUNT


class _Record(NamedTuple):
    """Where the pixels of one image lie in a file, and what is known of them."""

    place: int  # byte
    check: bytes
    has_more_frames: bool


@dataclass(frozen=True)
class PixelCache:
    """The images that are kept of one way of reading; `folder` None: there is no home for any."""

    folder: Path | None
    image_bytes: int

    @staticmethod
    def of(reader: ImageReader) -> "PixelCache":
        """What this reader, with these versions of the libraries below it, has decoded."""
        folder = cache_folder("decoded")
        libraries = version("pillow"), features.version("jpg"), version("torchvision")
        name = hashlib.sha256(repr((reader.identity(), libraries)).encode()).hexdigest()[:32]
        channels, height, width = reader.shape
        return PixelCache(folder and folder / name, channels * height * width)

    def fill(self, keys: list[bytes], pixels: Tensor, has_more_frames: Tensor) -> Tensor:
        """Put the images that are kept in their places of `pixels`, uint8 N x C x H x W, and of
        `has_more_frames`, bool of shape N. Returns which they are, bool of shape N."""
        places: dict[bytes, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        filled = has_more_frames.new_zeros(len(keys))
        flat = pixels.view(len(keys), self.image_bytes).numpy()
        for key, frames, content in self._kept(places):
            at = places.pop(key)
            flat[at] = memoryview(content)
            has_more_frames[at], filled[at] = frames, True
        return filled

    def _kept(self, wanted: dict[bytes, list[int]]) -> Iterator[tuple[bytes, bool, bytes]]:
        """(key, whether the file has more frames, pixels) of each wanted image that is kept."""
        for path in sorted(self.folder.glob(f"*{ENDING}")) if self.folder else ():
            with suppress(OSError), path.open("rb") as file:  # it may be removed meanwhile
                records = self._records(file)
                chosen = [key for key in records if key in wanted]
                for key in chosen:
                    file.seek(records[key].place)
                    content = file.read(self.image_bytes)
                    if _check(content) == records[key].check:
                        yield key, records[key].has_more_frames, content
                if chosen:
                    os.utime(path)  # used now

    def _records(self, file: BinaryIO) -> dict[bytes, _Record]:
        """The table of a file; empty if it is not as it was written."""
        head = file.read(HEAD)
        count = int.from_bytes(head[-COUNT:], "little")
        size = HEAD + count * (ROW + self.image_bytes)
        if not head.startswith(MAGIC) or os.fstat(file.fileno()).st_size != size:
            return {}
        table = file.read(count * ROW)
        if hashlib.sha256(table).digest() != head[len(MAGIC) :][:KEY]:
            return {}
        rows = (table[at : at + ROW] for at in range(0, len(table), ROW))
        pixels = HEAD + len(table)
        return {
            row[:KEY]: _Record(pixels + n * self.image_bytes, row[KEY:-1], bool(row[-1]))
            for n, row in enumerate(rows)
        }

    def add(self, keys: list[bytes], pixels: list[Tensor], has_more_frames: list[bool]) -> None:
        """Keep these images, each uint8 C x H x W, in a file of their own."""
        if self.folder is None or not keys:
            return
        images = {key: (p, f) for key, p, f in zip(keys, pixels, has_more_frames, strict=True)}
        table = b"".join(key + _check(_raw(p)) + bytes([f]) for key, (p, f) in images.items())
        size = HEAD + len(table) + len(images) * self.image_bytes
        if size > MOST_BYTES:
            log.info("decoded images are not kept: they are more than %d GB", MOST_BYTES / 1e9)
            return
        _make_room(self.folder.parent, size)
        digest = hashlib.sha256(table)
        head = MAGIC + digest.digest() + len(images).to_bytes(COUNT, "little")
        place = self.folder / f"{digest.hexdigest()[:32]}{ENDING}"
        keep(place, chain([head, table], (_raw(p) for p, _ in images.values())), "decoded images")


def _raw(pixels: Tensor) -> bytes:
    return pixels.numpy().tobytes()


def _check(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=CHECK).digest()


def _make_room(folder: Path, size: int) -> None:
    """Remove what was not used for longest, until `size` bytes more are not too many."""
    files = []
    for path in folder.glob("*/*"):
        with suppress(OSError):
            stat = path.stat()
            files.append((stat.st_mtime, stat.st_size, path))
    total = size + sum(length for _, length, _ in files)
    for _, length, path in sorted(files):
        if total <= MOST_BYTES:
            return
        with suppress(OSError):
            path.unlink()
            total -= length
