"""A picture file as it is meant to be seen: its first frame, upright, and opaque."""

import io
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from PIL.Image import Transpose

from robustrun.errors import DataError, shown

Colour = tuple[int, int, int]  # red, green, blue, 0 to 255

GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # more than 8 bits per channel
ORIENTATION = 0x0112  # EXIF's tag: where the first row and column of the stored image lie
TURNED = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


class Picture(NamedTuple):
    """A decoded file."""

    image: Image.Image  # upright, and as transparent as it is stored
    frames: bool  # whether there are more of them


def open_image(path: Path, content: bytes | None = None) -> Picture:
    """The decoded file; DataError, which names it, if it is damaged or too deep. `content` is what
    is in it, where that lies in another file (a table)."""
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            frames = bool(getattr(image, "is_animated", False))
            image.load()
            upright = _upright(image)
    except Exception as error:  # PIL meets damaged files with errors of a dozen kinds
        raise DataError(
            f"{shown(path)} cannot be read as an image ({type(error).__name__}: "
            f"{shown(str(error))}). Replace the file or remove it."
        ) from error
    if image.mode in DEEP_MODES:
        raise DataError(
            f"{shown(path)} has more than 8 bits per channel (PIL mode {image.mode}). Convert the "
            f"images to 8 bits."
        )
    return Picture(upright, frames)


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as a camera noted it; not PIL's own, which fails where it rewrites EXIF."""
    orientation = None
    with suppress(Exception):  # damaged EXIF: the picture itself is good
        orientation = image.getexif().get(ORIENTATION)
    turn = TURNED.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def channels_of(mode: str) -> int:
    return 1 if mode in GREY_MODES else 3


def converted(image: Image.Image, channels: int, background: Colour | None) -> Image.Image:
    """The image in grey or colour, opaque: over `background`, or (None) without its alpha."""
    mode = "L" if channels == 1 else "RGB"
    if background is None or not image.has_transparency_data:
        return image.convert(mode)
    stored = image.convert("LA") if image.mode == "La" else image
    under = Image.new("RGBA", image.size, (*background, 255))
    return Image.alpha_composite(under, stored.convert("RGBA")).convert("RGB").convert(mode)
