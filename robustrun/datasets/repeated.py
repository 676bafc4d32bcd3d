"""Test images that are training images, too: what is measured on them was learnt."""

import hashlib
import logging

from robustrun.datasets.contents import content_digests
from robustrun.datasets.decoded import DecodedImages
from robustrun.datasets.tensors import TensorImages
from robustrun.types import Images

log = logging.getLogger(__name__)
MOST_BYTES = 1 << 30  # of pixels in memory that are looked at


def tell_repeated(train: Images, test: Images) -> None:
    """Warn of test images that have the same bytes as a training image, where all are in memory."""
    known, asked = _contents(train), _contents(test)
    if known is None or asked is None:
        return
    learnt = set(known)
    if count := sum(content in learnt for content in asked):
        log.warning(
            "%d of the %d test images are among the training images, too (the same bytes): the "
            "network learns the answers to them",
            count,
            len(asked),
        )


def _contents(images: Images) -> list[bytes] | None:
    """What is equal for equal images; None where it would take long to know."""
    if isinstance(images, DecodedImages):
        return content_digests(images.files.root, images.files.names.tolist())
    if not isinstance(images, TensorImages) or images.pixels.nbytes > MOST_BYTES:
        return None
    rows = images.pixels.cpu().contiguous().numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]
