"""The arrays of a .npz file: mapped where they are stored as they are, and never unpickled."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from robustrun.errors import DataError, shown
from robustrun.storage.zip_faults import ZIP_FAULTS

ENDING = ".npy"
CHUNK = 1 << 24  # bytes whose checksum is taken at once
LOCAL_HEADER = 30  # bytes before a member's name, as the zip format has it
FAULTS = (OSError, ValueError, *ZIP_FAULTS)


class StoredArrays:
    """A .npz file; each array is read when it is asked for, and its checksum is checked."""

    def __init__(self, path: Path, key: str) -> None:
        """DataError, which begins with `key`, unless `path` is a .npz file."""
        self.path, self.key = path, key
        if not path.is_file():
            raise DataError(f"{key}: {shown(path)} is not there, or is no file.")
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{key}: {shown(path)} is no .npz file, or is incomplete ({error}). "
                f"numpy.savez(FILE, images=…, labels=…) writes one."
            ) from error
        named = [member for member in members if member.filename.endswith(ENDING)]
        self._members = {member.filename.removesuffix(ENDING): member for member in named}

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        """DataError for an array that is damaged, or that holds Python objects."""
        member = self._members[name]
        try:
            mapped = _mapped(self.path, member)
            if mapped is not None:
                return mapped
            with zipfile.ZipFile(self.path) as archive, archive.open(member.filename) as file:
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
                return array
        except FAULTS as error:
            pickled = "allow_pickle" in str(error) or "Object arrays" in str(error)
            what = "holds Python objects, which are not unpickled: save" if pickled else ""
            reason = f"{what} plain numbers" if pickled else f"cannot be read ({error})"
            raise DataError(
                f"{self.key}: the array {name!r} of {shown(self.path)} {reason}."
            ) from error


def _mapped(path: Path, member: zipfile.ZipInfo) -> np.ndarray | None:
    """The array of an uncompressed member, mapped copy-on-write; None: it must be read."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        return None
    with path.open("rb") as file:
        start = _start(file, member)
        file.seek(start)
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            return None
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
        at = file.tell()
    if dtype.hasobject or 0 in shape or shape == ():
        return None
    _require_checksum(path, member, start)
    return np.memmap(path, dtype, "c", at, shape, "F" if fortran else "C")


def _start(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Where the content of a member begins in the file."""
    file.seek(member.header_offset)
    name, extra = struct.unpack("<HH", file.read(LOCAL_HEADER)[26:])
    return member.header_offset + LOCAL_HEADER + int(name) + int(extra)


def _require_checksum(path: Path, member: zipfile.ZipInfo, start: int) -> None:
    content = np.memmap(path, np.uint8, "r", start, (member.file_size,))
    checksum = 0
    for first in range(0, len(content), CHUNK):
        checksum = zlib.crc32(content[first : first + CHUNK].data, checksum)
    if checksum != member.CRC:
        raise zipfile.BadZipFile("its checksum is wrong: the file is damaged")
