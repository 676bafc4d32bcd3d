"""Zip archives that ask for a password."""

import struct
import zipfile
from pathlib import Path

CENTRAL = 46  # bytes of an entry of the table at the end, before its name


def encrypt(file: Path) -> Path:
    """Mark each member as encrypted, at its head and in the table: nothing of it is read then."""
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        at = archive.start_dir
        for member in archive.infolist():
            content[member.header_offset + 6] |= 1
            content[at + 8] |= 1
            at += CENTRAL + sum(struct.unpack_from("<HHH", content, at + 28))
    file.write_bytes(content)
    return file
